"""How much of a request's body is read, and of all bodies of one tenant at once.

The limit of one is the server's own until a route that takes uploads sets another for its request.
"""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from realm.errors import RateLimitError

_KEY = "realm.body_limit"
_OWNER = "realm.body_owner"
_WAIT_SECONDS = 1.0


class BodyLimit:
    """An ASGI application around another. Reading more than the limit raises a 413, before any of
    the body is read where its length was announced; more than a tenant may have, a RateLimitError.
    """

    def __init__(self, app: ASGIApp, most_bytes: int, most_of_tenant: int) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._most_of_tenant = most_of_tenant
        self._of_tenants: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[_KEY] = self._most_bytes
        announced = _content_length(scope)
        seen = 0
        counted = 0
        owner = ""

        async def limited() -> Message:
            nonlocal seen, counted, owner
            message = await receive()
            if message["type"] == "http.request":
                size = len(message.get("body", b""))
                seen += size
                most_bytes = scope[_KEY]
                if max(seen, announced) > most_bytes:
                    text = f"the body is longer than {most_bytes} bytes"
                    raise HTTPException(413, text)
                if _OWNER in scope:
                    owner = scope[_OWNER]
                    self._count(owner, size)
                    counted += size
            return message

        try:
            await self._app(scope, limited, send)
        finally:
            if counted:
                self._release(owner, counted)

    def _count(self, tenant_id: str, size: int) -> None:
        held = self._of_tenants.get(tenant_id, 0) + size
        if held > self._most_of_tenant:
            text = f"the bodies of this tenant's requests have {self._most_of_tenant} bytes already"
            raise RateLimitError(text, _WAIT_SECONDS)
        self._of_tenants[tenant_id] = held

    def _release(self, tenant_id: str, size: int) -> None:
        self._of_tenants[tenant_id] -= size
        if not self._of_tenants[tenant_id]:
            del self._of_tenants[tenant_id]


def set_body_limit(request: Request, most_bytes: int) -> None:
    """This request's body may have so many bytes, and goes to a file as it comes. Before it is
    read."""
    request.scope[_KEY] = most_bytes
    request.scope.pop(_OWNER, None)


def count_body(request: Request, tenant_id: str) -> None:
    """This request's body is held in memory for this tenant. Before it is read."""
    request.scope[_OWNER] = tenant_id


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and len(value) < 20:
            return int(value)
    return 0
