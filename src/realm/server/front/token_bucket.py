"""A token bucket: so much a minute, saved up for at most a minute, and debts are paid first.

Times are seconds of one monotonic clock, passed in.
"""

from __future__ import annotations

_SECONDS = 60.0
_ROUNDING = 1e-6  # of a token: waiting as long as was said must be enough


class TokenBucket:
    """Full at first. Its level may fall below zero: what was used is known only afterwards."""

    __slots__ = ("_at", "_level", "_per_minute")

    def __init__(self, per_minute: float, now: float) -> None:
        self._per_minute = per_minute
        self._level = per_minute
        self._at = now

    def set_rate(self, per_minute: float, now: float) -> None:
        """From now on so much a minute; what was used of the minute stays used."""
        if per_minute == self._per_minute:
            return
        level = self.level(now)
        if per_minute > self._per_minute:
            level += per_minute - self._per_minute
        self._per_minute = per_minute
        self._level = min(level, per_minute)
        self._at = now

    def level(self, now: float) -> float:
        """What may be taken now; below zero when more was used than there was."""
        refilled = self._level + max(now - self._at, 0.0) * self._per_minute / _SECONDS
        return min(refilled, self._per_minute)

    def wait_seconds(self, now: float) -> float:
        """Until one can be taken; 0 when it can be now."""
        missing = 1.0 - self.level(now)
        return 0.0 if missing <= _ROUNDING else missing * _SECONDS / self._per_minute

    def take(self, count: float, now: float) -> None:
        """Whether or not it is there: see wait_seconds."""
        self._level = self.level(now) - count
        self._at = max(now, self._at)

    def is_full(self, now: float) -> bool:
        """Whether a new bucket would be the same."""
        return self.level(now) >= self._per_minute
