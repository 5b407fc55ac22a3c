"""What a step costs, from the steps so far. Reads no clock, and never guesses without a step.

Normalised least mean squares with gains in proportion to what each part costs by now (Duttweiler,
"Proportionate normalized least-mean-squares adaptation in echo cancelers", 2000): steps that are
all alike move every part together, so that their noise cannot make one of them vanish.
"""

from __future__ import annotations

from realm.engine.scheduler import StepCost

_FIRST_FIXED_ROWS = 8.0  # until steps differ: the fixed part costs as much as so many rows,
_FIRST_ANSWER_ROWS = 1.0  # and the logits of a row as much as these
_GAIN = 0.1
_MOST_ERROR = 1.0  # of the expected time: a stall of the machine counts as a step twice as long
_LEAST_FACTOR = 0.5  # no part shrinks by more in one step


class StepCostEstimate:
    """A step's time as a sum over what it computes, followed step by step."""

    __slots__ = ("_cost",)

    def __init__(self) -> None:
        self._cost = StepCost()

    @property
    def cost(self) -> StepCost:
        """The present estimate; every part 0 before the first step."""
        return self._cost

    def observe(self, rows: int, answers: int, seconds: float) -> None:
        """One more step of so many rows, of which so many gave logits."""
        cost = self._cost
        if cost.row_seconds <= 0.0:
            row = seconds / (_FIRST_FIXED_ROWS + rows + _FIRST_ANSWER_ROWS * answers)
            self._cost = StepCost(_FIRST_FIXED_ROWS * row, row, _FIRST_ANSWER_ROWS * row)
            return
        parts = (cost.fixed_seconds, cost.row_seconds * rows, cost.answer_seconds * answers)
        expected = sum(parts)
        error = min(seconds - expected, _MOST_ERROR * expected)
        # Each part changes by its share of the squares, a larger one by more of itself.
        step = _GAIN * error / sum(part * part for part in parts)
        fixed, row, answer = (max(1.0 + step * part, _LEAST_FACTOR) for part in parts)
        self._cost = StepCost(
            cost.fixed_seconds * fixed, cost.row_seconds * row, cost.answer_seconds * answer
        )
