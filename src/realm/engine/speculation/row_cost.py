"""What a step costs by its rows, from 1 to 64 and beyond: learnt from the steps.

Not a line: a few rows cost hardly more than one, because each weight is read once for all. Nor
always rising: kernels take rows in blocks, and a step of four rows may be quicker than one of
three. Reads no clock.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from collections.abc import Sequence as Items

import numpy as np

from realm.engine.speculation.plan import DraftLimits

# A block of four rows that begins costs more than one that fills up: both of its ends are measured.
MEASURED_ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 16, 17, 20, 21, 24, 32, 48, 64)
# Against a step of one row, until something is measured (SmolLM2 Q4_1, two threads, AVX-512;
# 21 rows and those above 24 are estimated).
_FIRST_SHAPE = (
    1.0, 1.13, 1.16, 1.25, 1.43, 1.43, 1.44, 1.51, 1.67, 1.75,
    1.98, 2.13, 2.36, 2.6, 2.89, 3.06, 3.36, 4.37, 6.3, 8.2,
)  # fmt: skip

# How far an estimate goes towards a step, at least: at first it is the mean of the guess and of all
# steps so far.
_GAIN = 0.05
_WELL_KNOWN = 4.0  # steps; what was never seen does not follow such a point any more
_DOUBT = 0.1  # how far a point of which less is known goes back towards those of which more is
_MOST_RATIO = 2.0  # a stall of the machine counts as a step twice as long as expected
# How far the others follow one step in so many: they must not be out of date when they are needed.
_DRIFT, _DRIFT_STEPS = 0.01, 10


class RowCost:
    """T(rows): seconds of a step of decode and verification rows, each of which gives logits."""

    __slots__ = ("_factors", "_known", "_reference", "_seen", "_steps")

    def __init__(self, measured: Mapping[int, float] | None = None) -> None:
        """measured: seconds by rows, best of all MEASURED_ROWS; those left out are estimated."""
        self._reference = list(_FIRST_SHAPE)
        self._factors = [1.0] * len(MEASURED_ROWS)
        self._seen = [0.0] * len(MEASURED_ROWS)  # steps
        self._known = False
        self._steps = 0
        usable = {rows: each for rows, each in (measured or {}).items() if rows > 0 and each > 0.0}
        if usable:
            self._take(usable)
            self._seen = [1.0 / _GAIN * (rows in usable) for rows in MEASURED_ROWS]

    def seconds(self, rows: int) -> float:
        """Of a step with so many rows, 1 at least. Between measured counts, a straight line; before
        anything was measured, in steps of one row.
        """
        lower, share = _place(rows)
        reference, factors = self._reference, self._factors
        low, high = reference[lower] * factors[lower], reference[lower + 1] * factors[lower + 1]
        return max(high, low + share * (high - low)) if share > 1.0 else low + share * (high - low)

    def table(self, rows: int, more: int) -> list[float]:
        """Of steps with `rows` rows up to `rows + more`."""
        return [self.seconds(rows + count) for count in range(more + 1)]

    def least_chance(self, rows: int, limits: DraftLimits) -> float:
        """Of a drafted token, below which no draft pays beside so many rows.

        As `plan_drafts` would find: even if every token of every draft were as likely. Between the
        measured counts time is a straight line, so only at these can it be lowest.
        """
        best = limits.least_gain * rows / self.seconds(rows)
        counts = [each - rows for each in MEASURED_ROWS if rows < each < rows + limits.rows]
        if limits.rows > 0:
            counts.append(limits.rows)
        return min(((best * self.seconds(rows + n) - rows) / n for n in counts), default=math.inf)

    def observe(self, rows: int, seconds: float) -> None:
        """One more step of so many rows, all of which gave logits."""
        if rows < 1 or seconds <= 0.0:
            return
        if not self._known:
            self._take({rows: seconds})
            lower, share = _place(rows)
            self._seen[lower + round(min(share, 1.0))] = 1.0
            return
        factors = self._factors
        lower, far = _place(rows)
        ratio = min(seconds / self.seconds(rows), _MOST_RATIO)
        share = min(far, 1.0)
        self._steps += 1
        if self._steps % _DRIFT_STEPS == 0:
            level = (factors[lower] + share * (factors[lower + 1] - factors[lower])) * ratio
            for index, factor in enumerate(factors):
                factors[index] = factor + _DRIFT * (level - factor)
            self._doubt_little_known()
        before = factors[lower + 1]
        is_new = self._follow(lower, 1.0 - share, ratio)
        is_new |= self._follow(lower + 1, share, ratio)
        if far > 1.0:  # the line goes on from both: one alone would be moved too far
            factors[lower] *= factors[lower + 1] / before
            self._seen[lower] += 1.0
        if is_new:
            self._guess_unseen()

    def _follow(self, point: int, share: float, ratio: float) -> bool:
        """A step took so many times as long as expected, and it is this point's by a share; whether
        little was known of it."""
        if share <= 0.0:
            return False
        seen = self._seen[point]
        self._seen[point] = seen + share
        gain = share * max(1.0 / (2.0 + seen), _GAIN)
        self._factors[point] *= 1.0 + gain * (ratio - 1.0)
        return seen < _WELL_KNOWN

    def _doubt_little_known(self) -> None:
        # One stall in the first step of a size must not keep that size from being tried for good.
        known = [point for point, count in enumerate(self._seen) if count >= _WELL_KNOWN]
        doubtful = [n for n, count in enumerate(self._seen) if 0.0 < count < _WELL_KNOWN]
        if not known or not doubtful:
            return
        found = self._factors_between(known)
        for point in doubtful:
            self._factors[point] += _DOUBT * (found[point] - self._factors[point])
        self._guess_unseen()

    def _guess_unseen(self) -> None:
        # As far from the reference as those are that stand beside them.
        seen = [point for point, count in enumerate(self._seen) if count > 0.0]
        self._factors[:] = self._factors_between(seen)

    def _factors_between(self, points: Items[int]) -> list[float]:
        """Of all points, by a straight line between these, which are ascending."""
        factors = [self._factors[each] for each in points]
        found: list[float] = np.interp(range(len(self._factors)), points, factors).tolist()
        return found

    def _take(self, measured: Mapping[int, float]) -> None:
        # What was not measured is as far from the first shape as its measured neighbours are.
        rows = sorted(measured)
        ratios = [measured[each] / self.seconds(each) for each in rows]
        far = np.interp(MEASURED_ROWS, rows, ratios).tolist()
        self._reference = [shape * each for shape, each in zip(_FIRST_SHAPE, far, strict=True)]
        self._known = True


def _place(rows: int) -> tuple[int, float]:
    """The measured count at or below, and how far towards the next one; above 1 past the last."""
    lower = min(bisect_right(MEASURED_ROWS, rows) - 1, len(MEASURED_ROWS) - 2)
    begin, end = MEASURED_ROWS[lower], MEASURED_ROWS[lower + 1]
    return lower, (rows - begin) / (end - begin)
