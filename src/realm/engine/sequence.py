"""One sequence: its tokens, how many of them the cache holds, and what is waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from realm.config import SamplingParameters
from realm.model import WeightedAdapter


class Want(Enum):
    """What a sequence waits for besides a sampled token."""

    LOGITS = "logits"


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
    allowed: the mask of the token it waits for, one bit a token; None allows all.
    adapters: what is added to the model for it, in order; the same as long as it lives.
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
    allowed: NDArray[np.uint32] | None = None
    adapters: tuple[WeightedAdapter, ...] = ()

    @property
    def pending(self) -> int:
        """Tokens that the cache does not hold yet."""
        return len(self.tokens) - self.computed
