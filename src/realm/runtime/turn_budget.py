"""What of the engine thread's time one tenant's programs may take while other tenants are served.

A tenant owes the time of its programs' turns. Tokens pay for it, as many as a usual program needs,
and so does time, slowly. Who owes too much goes on when nobody else needs the thread, or when it
has been paid. Only decides; reads no clock.
"""

from __future__ import annotations

_SHARE = 0.03
_TOKEN_SECONDS = 0.0002  # several times what the default program needs for one
_BURST_SECONDS = 0.05  # a long prompt turned into tokens
# What a program that traps or reaches a limit has cost besides: its start, a prompt, the steps of
# others. Or an adapter that was looked for in vain.
_FAILURE_SECONDS = 0.01
_REPEAT_SECONDS = 0.002  # a row of a step that brings nothing new


class TurnBudget:
    """Engine thread only. Times are seconds of one clock."""

    __slots__ = ("_at", "_owed")

    def __init__(self) -> None:
        self._owed = 0.0
        self._at = 0.0

    def charge(self, seconds: float, now: float) -> None:
        """A turn has taken so long."""
        self._owed = self._owed_at(now) + seconds
        self._at = now

    def pay_token(self) -> None:
        """A step has given one of the tenant's programs its answer."""
        self._owed = max(0.0, self._owed - _TOKEN_SECONDS)

    def charge_failure(self) -> None:
        """A program trapped or reached a limit, or its adapter does not load. Who repeats that has
        to wait."""
        self._owed += _FAILURE_SECONDS

    def charge_repeat(self) -> None:
        """A program wants computed what it has been given already."""
        self._owed += _REPEAT_SECONDS

    def is_spent(self, now: float) -> bool:
        """Whether the tenant has had more than its share."""
        return self._owed > _BURST_SECONDS and self._owed_at(now) > _BURST_SECONDS

    def _owed_at(self, now: float) -> float:
        return max(0.0, self._owed - _SHARE * (now - self._at))
