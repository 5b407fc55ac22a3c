"""A generation between its message and its last answer, as reader, workers and writer share it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.server.engine_process.wire_values import TokenTexts, wire_piece
from realm.server.wire.messages import PIECE_CREDIT, Piece

if TYPE_CHECKING:
    from realm.runtime.pending import PendingGeneration

_TAKEN_AT_ONCE = 1 << 20  # more than ever wait


class RunningRequest:
    """pending: None until a worker has submitted it; token_texts comes with it.

    is_cancelled: by the reader; what it still says is dropped. is_told: whether its end went to the
    writer. was_looked_at: by the writer, perhaps before `pending` was there: then it must be told
    again. The writer alone takes.
    """

    __slots__ = (
        "_granted", "_is_starved", "_spent", "is_cancelled", "is_told", "number", "pending",
        "token_texts", "was_looked_at",
    )  # fmt: skip

    def __init__(self, number: int) -> None:
        self.number = number
        self.pending: PendingGeneration | None = None
        self.token_texts: TokenTexts | None = None
        self.is_cancelled = False
        self.is_told = False
        self.was_looked_at = False
        self._granted = PIECE_CREDIT  # the reader's to raise
        self._spent = 0  # the writer's to raise
        self._is_starved = False

    def grant(self, pieces: int) -> bool:
        """Reader: the front has taken so many; whether the writer must look again."""
        self._granted += max(0, pieces)
        return self._is_starved

    def take(self) -> Piece | None:
        """Writer: all text that has come, as one piece; None when there is none or no credit."""
        assert self.pending is not None
        assert self.token_texts is not None
        if self.is_cancelled:
            self.pending.take(_TAKEN_AT_ONCE)
            return None
        # Set before the look at the credit, so that no grant in between goes unseen.
        self._is_starved = True
        if self._spent >= self._granted:
            self.pending.take(0)  # the end needs no credit
            return None
        self._is_starved = False
        taken = self.pending.take(_TAKEN_AT_ONCE)
        if not taken:
            return None
        self._spent += 1
        return wire_piece(self.number, taken, self.token_texts)
