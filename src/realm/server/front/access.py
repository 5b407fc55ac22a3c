"""Routes that say who may use them, and see to it before their handler runs.

Every route of the server carries one of three marks in its `access`: "open" to all, "tenant" for
keys of tenants, "admin" for admin keys. The key is checked before the body is read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from realm.errors import UnauthorizedError
from realm.server.front.body_limit import count_body
from realm.server.front.foreign_pages import is_from_foreign_page
from realm.server.front.identity import Identity
from realm.server.front.services import Services

Access = Literal["open", "tenant", "admin"]
OpenHandler = Callable[[Request], Awaitable[Response]]
IdentifiedHandler = Callable[[Request, Identity], Awaitable[Response]]


class MarkedRoute(Route):
    """A route of HTTP with its mark. handler: what was given, without the check around it."""

    def __init__(
        self,
        path: str,
        endpoint: OpenHandler,
        *,
        access: Access,
        methods: Sequence[str],
        handler: Callable[..., Awaitable[Response]],
    ) -> None:
        super().__init__(path, endpoint, methods=list(methods))
        self.access = access
        self.handler = handler


class MarkedWebSocketRoute(WebSocketRoute):
    """A route of WebSockets with its mark. Its endpoint checks the key itself: the protocol has
    it in a frame."""

    def __init__(self, path: str, endpoint: Callable[[WebSocket], Awaitable[None]]) -> None:
        super().__init__(path, endpoint)
        self.access: Access = "tenant"


def open_route(path: str, handler: OpenHandler, methods: Sequence[str] = ("GET",)) -> MarkedRoute:
    """A route that asks for no key."""
    return MarkedRoute(path, handler, access="open", methods=methods, handler=handler)


def tenant_route(
    path: str,
    handler: IdentifiedHandler,
    *,
    services: Services,
    methods: Sequence[str] = ("GET",),
) -> MarkedRoute:
    """A route for keys of tenants; `identity.tenant` is there. An admin key does not open it."""

    def check(identity: Identity) -> None:
        if identity.tenant is None:
            raise UnauthorizedError("an admin key administers; this route wants a tenant's key")

    endpoint = _checked(handler, check, services)
    return MarkedRoute(path, endpoint, access="tenant", methods=methods, handler=handler)


def admin_route(
    path: str,
    handler: IdentifiedHandler,
    *,
    services: Services,
    methods: Sequence[str] = ("GET",),
) -> MarkedRoute:
    """A route for admin keys alone, with keys off too."""

    def check(identity: Identity) -> None:
        if not identity.is_admin:
            raise UnauthorizedError("this route wants an admin key")

    endpoint = _checked(handler, check, services)
    return MarkedRoute(path, endpoint, access="admin", methods=methods, handler=handler)


def _checked(
    handler: IdentifiedHandler,
    check: Callable[[Identity], None],
    services: Services,
) -> OpenHandler:
    """The handler behind its key. check: raises UnauthorizedError for another kind of key."""

    async def checked(request: Request) -> Response:
        identity = identify(request, services)
        check(identity)
        if identity.tenant is not None:
            count_body(request, identity.tenant.tenant_id)
        return await handler(request, identity)

    return checked


def identify(connection: HTTPConnection, services: Services) -> Identity:
    """Who the `Authorization` header's key belongs to. Raises UnauthorizedError; for two such
    headers too, of which nobody could say which one counts.

    HTTPException 403 for pages of other sites where no key is asked for.
    """
    headers = connection.headers.getlist("authorization")
    if len(headers) > 1:
        raise UnauthorizedError("more than one Authorization header")
    identity: Identity = services.directory.authenticate(headers[0] if headers else None)
    if identity.key_prefix is None and is_from_foreign_page(connection, services.settings.host):
        raise HTTPException(403, "without a key this server is not for pages of other sites")
    return identity
