"""One sequence: its tokens, how many of them the cache holds, and what is waited for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from realm.config import SamplingParameters


class Want(Enum):
    """What a sequence waits for besides a sampled token."""

    LOGITS = "logits"


@dataclass(slots=True)
class Sequence:
    """State of one sequence; the engine alone changes it.

    tokens: every token, computed or not. computed: how many of them stand in the cache.
    prompt_count: how many were given rather than sampled. pages: cache pages, by position.
    """

    number: int
    owner: str
    table_row: int
    tokens: list[int] = field(default_factory=list)
    computed: int = 0
    prompt_count: int = 0
    pages: list[int] = field(default_factory=list)
    want: SamplingParameters | Want | None = None

    @property
    def pending(self) -> int:
        """Tokens that the cache does not hold yet."""
        return len(self.tokens) - self.computed
