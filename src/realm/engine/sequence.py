"""One sequence: its tokens, how many of them the cache holds, and what is waited for."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm.config import SamplingParameters
from realm.engine.output import TokenLogprobs
from realm.engine.speculation import SequenceSpeculation
from realm.model import WeightedAdapter, feature_parts

if TYPE_CHECKING:
    from realm.engine.drafter import Drafter

Mask = NDArray[np.uint32]
# The masks of the tokens after each of some that may come next: as many as can be told.
MasksAfter = Callable[[Items[int]], Items[Mask | None]]


class Want(Enum):
    """What a sequence waits for besides a sampled token."""

    LOGITS = "logits"


class TokenAhead(NamedTuple):
    """A token that was drawn behind drafted ones which turned out right: no step is needed for it.

    allowed: the mask under which it was drawn.
    """

    token: int
    logprobs: tuple[TokenLogprobs, ...]
    allowed: Mask | None


class Feature(NamedTuple):
    """What a model's head, and some of its layers, multiplied to draw a token (Li et al., 2024).

    length: how many tokens stand before that token. layers: which, ascending. parts: float32
    [1 + layers, hidden], the head's first.
    """

    length: int
    layers: tuple[int, ...]
    parts: NDArray[np.float32]


@dataclass(slots=True)
class Sequence:
    """State of one sequence; the engine alone changes it.

    tokens: every token, computed or not. computed: how many of them stand in the cache.
    prompt_count: how many were given rather than sampled. pages: cache pages, by position.
    paid: rows below this position were computed, paid for, and taken away: again, they are free.
    served: new rows computed since it got its pages. arrival: when it last joined the queue.
    passed_pages: pages given to those behind it in the queue. losses: how often it lost its pages
    while it waited for an answer. chain: hashes of its full pages.
    by_layers: a guest fills its pages layer by layer; they cannot be computed again. layer_ends:
    where what it has written of each layer ends.
    allowed: the mask of the token it waits for, one bit a token; None allows all. masks_after: of
    the tokens after that; None when nobody knows.
    adapters: what is added to the model for it, in order; the same as long as it lives.
    speculation: its drafts; None without. drafter: of its draft model, if it has one.
    ahead: the next tokens, the first one first, as they are under the policy `ahead_sampling`; the
    cache holds every token before the last of them.
    more: how many tokens will be asked for after the one it waits for, as far as anyone knows.
    steady_count: tokens that it was given one after the other, with nothing else between.
    feature_layers: of which layers, besides the head, steps leave the feature of the token that
    they drew last for it; None where no feature is wanted. What its drafter reads is left besides,
    while that one may be asked.
    """

    number: int
    owner: str
    table_row: int
    priority: int = 0
    tokens: list[int] = field(default_factory=list)
    computed: int = 0
    prompt_count: int = 0
    pages: list[int] = field(default_factory=list)
    want: SamplingParameters | Want | None = None
    paid: int = 0
    served: int = 0
    arrival: int = 0
    passed_pages: int = 0
    losses: int = 0
    chain: list[bytes] = field(default_factory=list)
    by_layers: bool = False
    layer_ends: dict[int, int] = field(default_factory=dict)
    allowed: Mask | None = None
    masks_after: MasksAfter | None = None
    adapters: tuple[WeightedAdapter, ...] = ()
    speculation: SequenceSpeculation | None = None
    drafter: Drafter | None = None
    ahead: list[TokenAhead] = field(default_factory=list)
    ahead_sampling: SamplingParameters | None = None
    more: int = 0
    steady_count: int = 0
    feature_layers: tuple[int, ...] | None = None
    feature: Feature | None = None

    @property
    def pending(self) -> int:
        """Tokens that the cache does not hold yet."""
        return len(self.tokens) - self.computed

    @property
    def draws_alone(self) -> bool:
        """Whether it decodes, and the native core knows all that its next token depends on."""
        want = self.want
        if self.pending != 1 or not isinstance(want, SamplingParameters):
            return False
        return want.logprobs is None and self.allowed is None and self.masks_after is None

    @property
    def draft_k(self) -> int:
        """Most drafted tokens of a step."""
        return 0 if self.speculation is None else self.speculation.draft_k

    def newest_feature(self, layers: Items[int] | None) -> NDArray[np.float32] | None:
        """Of its last token, the head's part and those of these layers: float32 [parts, hidden].

        None without layers, when that is not the one that was drawn last, or not all were kept.
        """
        feature = self.feature
        if layers is None or feature is None or feature.length + 1 != len(self.tokens):
            return None
        if not set(layers) <= set(feature.layers):
            return None
        return feature.parts[feature_parts(layers, feature.layers)]

    def turn(self) -> None:
        """It goes on in another way than by the token that follows."""
        self.ahead.clear()
        self.steady_count = 0
        self.feature = None

    def knows_next(self) -> bool:
        """Whether the token it waits for is the first of those ahead."""
        if not self.ahead or self.want != self.ahead_sampling:
            return False
        expected, asked = self.ahead[0].allowed, self.allowed
        if expected is None or asked is None:
            return expected is asked
        return np.array_equal(expected, asked)
