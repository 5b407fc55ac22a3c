"""What a step costs, from the steps so far: a line through their rows and seconds."""

from __future__ import annotations

from realm.engine.scheduler import StepCost

_MEMORY = 0.98  # a step counts half after 34 others
_FIT_EVERY = 8


class StepCostEstimate:
    """Least squares of seconds over rows, with weights that fade by age. Reads no clock."""

    __slots__ = (
        "_cost",
        "_count",
        "_rows",
        "_rows_seconds",
        "_rows_squared",
        "_seconds",
        "_weight",
    )

    def __init__(self) -> None:
        self._weight = self._rows = self._seconds = self._rows_squared = self._rows_seconds = 0.0
        self._count = 0
        self._cost = StepCost()

    @property
    def cost(self) -> StepCost:
        """The present estimate; both parts 0 before the first step."""
        return self._cost

    def observe(self, rows: int, seconds: float) -> None:
        """One more step."""
        self._weight = self._weight * _MEMORY + 1.0
        self._rows = self._rows * _MEMORY + rows
        self._seconds = self._seconds * _MEMORY + seconds
        self._rows_squared = self._rows_squared * _MEMORY + rows * rows
        self._rows_seconds = self._rows_seconds * _MEMORY + rows * seconds
        if self._count % _FIT_EVERY == 0:
            self._cost = self._fit()
        self._count += 1

    def _fit(self) -> StepCost:
        spread = self._weight * self._rows_squared - self._rows * self._rows
        if spread > 1e-6 * self._weight * self._rows_squared:
            slope = (self._weight * self._rows_seconds - self._rows * self._seconds) / spread
            fixed = (self._seconds - slope * self._rows) / self._weight
            if slope > 0.0 and fixed >= 0.0:
                return StepCost(fixed, slope)
        # All steps alike, or noise: what a row took on average, nothing fixed.
        return StepCost(0.0, self._seconds / self._rows)
