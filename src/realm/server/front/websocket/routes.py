"""Where WebSockets are taken: /ws, and / for older clients."""

from __future__ import annotations

from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.websockets import WebSocket

from realm.errors import UnauthorizedError
from realm.server.front.access import MarkedWebSocketRoute
from realm.server.front.foreign_pages import is_from_foreign_page
from realm.server.front.request_id import request_id_of
from realm.server.front.services import Services
from realm.server.front.websocket.connection import Connection
from realm.server.front.websocket.connections import Connections
from realm.server.front.websocket.limits import WebSocketLimits

PATHS = ("/ws", "/")


def routes(services: Services, limits: WebSocketLimits | None = None) -> list[BaseRoute]:
    """Both paths, one protocol; the bounds hold for them together."""
    connections = Connections(limits or WebSocketLimits())

    async def endpoint(websocket: WebSocket) -> None:
        try:
            anonymous = services.directory.authenticate(None)
        except UnauthorizedError:
            anonymous = None
        if anonymous is not None and is_from_foreign_page(websocket, services.settings.host):
            await websocket.send_denial_response(Response(status_code=403))
        elif anonymous is None and connections.is_full:
            refusal = Response(status_code=503, headers={"retry-after": "1"})
            await websocket.send_denial_response(refusal)
        else:
            request_id = request_id_of(websocket)
            await Connection(websocket, services, connections, request_id).run(anonymous)

    return [MarkedWebSocketRoute(path, endpoint) for path in PATHS]
