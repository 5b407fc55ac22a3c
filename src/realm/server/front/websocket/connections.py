"""How many connections there are, and from whom one is taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from realm.errors import RateLimitError
from realm.server.front.websocket.limits import WebSocketLimits

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


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


def is_foreign_page(headers: Headers, scheme: str) -> bool:
    """Whether a browser says that a page of another origin opens the connection.

    Browsers let any page do so (RFC 6455, section 10.2), and without keys nothing else would
    stop it. Clients that are no browsers send no Origin.
    """
    origin = headers.get("origin")
    if origin is None:
        return False
    try:
        page = urlsplit(origin)
        here = urlsplit(f"//{headers.get('host', '')}")
        page_port = page.port or _DEFAULT_PORTS.get(page.scheme)
        here_port = here.port or _DEFAULT_PORTS.get(scheme)
    except ValueError:
        return True
    return page.hostname is None or (page.hostname, page_port) != (here.hostname, here_port)
