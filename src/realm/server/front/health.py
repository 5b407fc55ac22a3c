"""GET /health: the process is up. GET /ready: the engine answers."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from realm.errors import EngineUnavailableError
from realm.server.front.access import open_route
from realm.server.front.services import Services

_HEADERS = {"cache-control": "no-store"}


class Health(msgspec.Struct, frozen=True):
    """status: 'ok' or 'ready'."""

    status: str


def routes(services: Services) -> list[BaseRoute]:
    """Both, open to all."""

    async def health(request: Request) -> Response:
        del request
        return _answer("ok")

    async def ready(request: Request) -> Response:
        """Raises EngineUnavailableError."""
        del request
        if not services.engine.is_ready:
            raise EngineUnavailableError("the engine is not ready", 1.0)
        return _answer("ready")

    return [open_route("/health", health), open_route("/ready", ready)]


def _answer(status: str) -> Response:
    content = msgspec.json.encode(Health(status))
    return Response(content, media_type="application/json", headers=_HEADERS)
