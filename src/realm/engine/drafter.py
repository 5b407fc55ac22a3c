"""A draft model at work for the sequences of one target: what all kinds of draft models share."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass, field
from typing import NamedTuple

from realm.engine.draft_steps import Drawn
from realm.engine.sequence import Sequence
from realm.engine.speculation import Draft, Source, probability_grade
from realm.errors import RealmError
from realm.model import DraftModel, StoredModel

_LOGGER = logging.getLogger(__name__)
_GAIN = 0.1  # of the seconds of a draft's step


class DraftWish(NamedTuple):
    """A sequence that decodes.

    most: tokens that its draft may have. chance: that one is right, by grade.
    """

    sequence: Sequence
    most: int
    chance: Callable[[int], float]


class Effort(NamedTuple):
    """What drafts took: native steps, and their rows together."""

    step_count: int
    row_count: int


class Drafter(ABC):
    """A draft model for the sequences of one target.

    clock: seconds. seconds: of one step of the draft and the work around it, by now; 0 before the
    first. native_seconds: of one in a native call of the target's; 0 before the first, and where it
    cannot draft there. is_alive: False after it failed; it then drafts no more, and its sequences
    go on without it. is_wanted: False when no further sequence will have it.
    """

    def __init__(self, draft: DraftModel, target: StoredModel, clock: Callable[[], float]) -> None:
        self.seconds = 0.0
        self.native_seconds = 0.0
        self.is_alive = True
        self.is_wanted = True
        self.draft = draft
        self._target = target
        self._clock = clock

    @property
    def relative_cost(self) -> float:
        """What a step of the draft may take before one was measured, in steps of the target."""
        return self.draft.stored.bytes_per_token / self._target.bytes_per_token

    @property
    def feature_layers(self) -> tuple[int, ...] | None:
        """The target's layers of which it reads features, besides the head's; None where it reads
        none at all."""
        shape = self.draft.stored.hyperparameters
        return shape.feature_layers if shape.reads_features else None

    @abstractmethod
    def forget(self, number: int) -> None:
        """The sequence is closed."""

    @abstractmethod
    def truncate(self, number: int, length: int) -> None:
        """The sequence was rewound to its first `length` tokens."""

    def propose(self, wishes: Items[DraftWish], least: float) -> dict[int, Draft]:
        """Drafts by sequence. least: the chance below which no further token is drafted."""
        if not self.is_alive:
            return {}
        begin = self._clock()
        try:
            drafts, effort = self._propose(wishes, least)
        except RealmError as error:
            self.fail(error)
            return {}
        # Texts that it has not read yet would pass for slow steps.
        if effort.step_count and effort.row_count <= 2 * effort.step_count * len(wishes):
            seconds = (self._clock() - begin) / effort.step_count
            self.seconds += (seconds - self.seconds) * (_GAIN if self.seconds else 1.0)
        return drafts

    def fail(self, error: RealmError) -> None:
        """It drafts no more."""
        _LOGGER.warning("the draft model %s failed: %s", self.draft.stored.name, error)
        self.is_alive = False

    @abstractmethod
    def _propose(self, wishes: Items[DraftWish], least: float) -> tuple[dict[int, Draft], Effort]:
        """As `propose`, and what it took. May raise a RealmError."""

    def _extend(self, chain: DraftChain, drawn: Drawn, least: float) -> bool:
        """Whether a draft goes on behind what was drawn for it, a token of the draft's."""
        target = self.draft.target_token(drawn.token) if drawn.token >= 0 else -1
        return target >= 0 and chain.extend(target, probability_grade(drawn.probability), least)


@dataclass(slots=True)
class DraftChain:
    """A draft in the making. survival: the chance that all of it is right."""

    most: int
    chance: Callable[[int], float]
    tokens: list[int] = field(default_factory=list)
    grades: list[int] = field(default_factory=list)
    survival: float = 1.0

    def extend(self, token: int, grade: int, least: float) -> bool:
        """Add what was drawn for it, one of the target's tokens, if that is likely enough; whether
        the draft goes on behind it."""
        self.survival *= self.chance(grade)
        if self.survival < least and self.tokens:
            return False
        self.tokens.append(token)
        self.grades.append(grade)
        return len(self.tokens) < self.most and self.survival >= least

    def draft(self) -> Draft:
        """What has become of it; at least one token."""
        return Draft(Source.MODEL, tuple(self.tokens), tuple(self.grades))
