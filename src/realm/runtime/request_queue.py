"""Requests that wait to begin: higher priorities first, then the tenants in turn.

A tenant that has as many guests alive as it may is passed over until one of them ends. Only
decides; the loop begins what it takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realm.runtime.account import TenantAccount
    from realm.runtime.job import Job

_Line = tuple[int, str]  # priority, tenant


class RequestQueue:
    """Engine thread only."""

    def __init__(self) -> None:
        self._lines: dict[_Line, deque[Job]] = {}
        self._ready: dict[int, dict[_Line, None]] = {}
        self._held: dict[str, set[_Line]] = {}

    def __iter__(self) -> Iterator[Job]:
        return iter([job for line in self._lines.values() for job in line])

    @property
    def has_ready(self) -> bool:
        """Whether `take` would find a request."""
        return bool(self._ready)

    def add(self, job: Job) -> None:
        """At the end of its tenant's line."""
        name = job.priority, job.account.tenant_id
        self._lines.setdefault(name, deque()).append(job)
        job.account.queued_requests += 1
        self._offer(name, job.account)

    def take(self) -> Job:
        """The next request; its tenant goes behind the others. KeyError when none is ready."""
        priority = max(self._ready)
        name = next(iter(self._ready[priority]))
        self._withdraw(name)
        job = self._lines[name].popleft()
        job.account.queued_requests -= 1
        if not self._lines[name]:
            del self._lines[name]
        else:
            # The one just taken is not alive yet.
            self._offer(name, job.account, beside=1)
        return job

    def remove(self, job: Job) -> bool:
        """Whether the request was here."""
        name = job.priority, job.account.tenant_id
        line = self._lines.get(name)
        if line is None or job not in line:
            return False
        line.remove(job)
        job.account.queued_requests -= 1
        if not line:
            del self._lines[name]
            self._withdraw(name)
            self._held.get(name[1], set()).discard(name)
        return True

    def has_room(self, account: TenantAccount) -> None:
        """One of the tenant's guests has ended."""
        for name in self._held.pop(account.tenant_id, ()):
            self._offer(name, account)

    def _offer(self, name: _Line, account: TenantAccount, beside: int = 0) -> None:
        if account.live_guests + beside < account.limits.requests:
            self._ready.setdefault(name[0], {}).setdefault(name)
        else:
            self._withdraw(name)
            self._held.setdefault(name[1], set()).add(name)

    def _withdraw(self, name: _Line) -> None:
        ready = self._ready.get(name[0])
        if ready is not None and name in ready:
            del ready[name]
            if not ready:
                del self._ready[name[0]]
