"""Steps that look for no drafts, because none has paid for a while. Reads no clock."""

from __future__ import annotations

DEMANDING = 0.5  # from this least chance of a first token on, few drafts pay
_LOOKS = 4  # without a draft that pays, until so many more steps are left out as before
_MOST_STEPS = 15  # that follow a look without one


class DraftRest:
    """Where many rows decode, few drafts pay, and looking for them takes part of each step.

    For each step in which much is asked of drafts: `is_over`, and if so, `note` what was found.
    """

    __slots__ = ("_fruitless", "_left")

    def __init__(self) -> None:
        self._fruitless = 0
        self._left = 0

    def is_over(self) -> bool:
        """Whether this step looks for drafts."""
        if self._left:
            self._left -= 1
            return False
        return True

    def note(self, paid: bool) -> None:
        """Whether some draft was worth its rows."""
        self._fruitless = 0 if paid else self._fruitless + 1
        self._left = min(2 ** (self._fruitless // _LOOKS) - 1, _MOST_STEPS)
