"""How many connections there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from realm.errors import RateLimitError
from realm.server.front.websocket.limits import WebSocketLimits


class Connections:
    """Counts of one server, on the event loop's thread."""

    def __init__(self, limits: WebSocketLimits) -> None:
        self.limits = limits
        self.waiting = 0
        self._tenants: Counter[str] = Counter()

    @property
    def is_full(self) -> bool:
        """Whether as many wait for their client's key as may."""
        return self.waiting >= self.limits.unauthenticated_connections

    @contextmanager
    def unauthenticated(self) -> Iterator[None]:
        """Around the wait for a key."""
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    @contextmanager
    def of_tenant(self, tenant_id: str) -> Iterator[None]:
        """Around a tenant's connection. Raises RateLimitError for one too many."""
        if self._tenants[tenant_id] >= self.limits.tenant_connections:
            raise RateLimitError("the tenant has too many connections", 1.0)
        self._tenants[tenant_id] += 1
        try:
            yield
        finally:
            self._tenants[tenant_id] -= 1
            if not self._tenants[tenant_id]:
                del self._tenants[tenant_id]
