"""Whether a draft model is worth its time, before it is asked. Reads no clock."""

from __future__ import annotations

_PRIOR = 0.6  # a token of a draft model is right, until more is known
_PRIOR_WEIGHT = 4.0
_KEPT = 0.95  # of the counts with each draft: about the last 20 count
_RESTED = 0.998  # and with each step without one: back half way after some 350


class DraftGate:
    """How often a draft model's tokens were right, whatever it thought of them itself.

    While it is not asked it goes back to what it was at first, so that it is tried again.
    """

    __slots__ = ("_right", "_seen")

    def __init__(self) -> None:
        self._right = 0.0
        self._seen = 0.0

    @property
    def chance(self) -> float:
        """That a token is right when all before it in its draft were."""
        return (_PRIOR * _PRIOR_WEIGHT + self._right) / (_PRIOR_WEIGHT + self._seen)

    def survivals(self, count: int) -> tuple[float, ...]:
        """For each of so many tokens, the chance that it and all before it are right."""
        chance = self.chance
        return tuple(chance ** (index + 1) for index in range(count))

    def observe(self, right: int, compared: int) -> None:
        """Of a draft's first `compared` tokens the first `right` were right."""
        self._right = self._right * _KEPT + right
        self._seen = self._seen * _KEPT + min(right + 1, compared)

    def rest(self) -> None:
        """A step without a draft of the model."""
        self._right *= _RESTED
        self._seen *= _RESTED
