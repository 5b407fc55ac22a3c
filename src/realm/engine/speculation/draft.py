"""What a draft is: tokens that may come next, where they are from, how good the evidence is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from realm.kernels import MATCH_TOKENS

GRADE_COUNT = MATCH_TOKENS + 1  # grades of one source


class Source(Enum):
    """Where drafted tokens come from: the sequence itself, its owner's recent outputs, a model."""

    SUFFIX = "suffix"
    HISTORY = "history"
    MODEL = "model"


SOURCES = tuple(Source)  # as the native core counts them (`DraftSource` in text_drafts.h)


@dataclass(frozen=True, slots=True)
class Draft:
    """Tokens that may follow a sequence, the next one first; never empty.

    grades: one for each token, 0..GRADE_COUNT - 1, the higher the better the evidence for it. Of
    SUFFIX and HISTORY: how many tokens before it stood before the copied token too. Of MODEL: see
    `probability_grade`.
    """

    source: Source
    token_ids: tuple[int, ...]
    grades: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.token_ids)


def probability_grade(probability: float) -> int:
    """The grade of a token that a draft model gives this probability (0..1)."""
    return min(int(probability * GRADE_COUNT), GRADE_COUNT - 1)


def count_accepted(drafted: tuple[int, ...], sampled: tuple[int, ...]) -> int:
    """How many drafted tokens the target confirms, from the first on.

    sampled: the target's own token at each position: sampled[i] is drawn after drafted[:i]. The
    tokens that join the sequence are sampled[: accepted + 1].
    """
    accepted = 0
    for draft, token in zip(drafted, sampled, strict=False):
        if draft != token:
            break
        accepted += 1
    return accepted
