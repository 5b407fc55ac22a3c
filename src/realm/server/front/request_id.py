"""Around every request: its id, its share in the metrics, and an answer when its handler breaks.

The id comes from the client's `x-request-id` when that is short and harmless, and goes back in the
answer's. It stands in the log's lines of the request.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from realm.server.front.failures import error_response
from realm.server.front.metrics import FrontMetrics

_LOGGER = logging.getLogger("realm.server.failures")
_REQUESTS = logging.getLogger("realm.server.requests")
_HEADER = b"x-request-id"
_KEY = "realm.request_id"
_IDS = random.Random()  # noqa: S311  names, not secrets; the system's numbers cost a call of it
_USABLE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class RequestContext:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, metrics: FrontMetrics, now: Callable[[], float]) -> None:
        """now: seconds, monotonic."""
        self._app = app
        self._metrics = metrics
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = _id_for(scope)
        scope[_KEY] = request_id.decode()
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        started = self._now()
        status = 0

        async def with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (_HEADER, request_id)]
            await send(message)

        try:
            await self._app(scope, receive, with_id)
        except Exception as error:
            # Handlers' errors were answered further in; this is a defect.
            _LOGGER.exception("a request failed", extra={"request_id": scope[_KEY]})
            if status:
                raise
            await error_response(error)(scope, receive, with_id)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            seconds = self._now() - started
            self._metrics.request_ended(route, status or 499, seconds)
            _tell(scope, route, status or 499, seconds)


def request_id_of(connection: HTTPConnection) -> str:
    """The id of the request; a new one where nobody gave it one."""
    found: str | None = connection.scope.get(_KEY)
    if found is None:
        found = connection.scope[_KEY] = new_id()
    return found


def new_id() -> str:
    """24 digits that nothing else has had."""
    return f"{_IDS.getrandbits(96):024x}"


def _tell(scope: Scope, route: str, status: int, seconds: float) -> None:
    """The request's line in the log. What was only looked at, and was there, is for `debug`."""
    method = scope["method"]
    level = logging.DEBUG if method in ("GET", "HEAD") and status < 400 else logging.INFO
    if _REQUESTS.isEnabledFor(level):
        fields = {"request_id": scope[_KEY], "route": route, "status": status}
        fields |= {"method": method[:16], "seconds": round(seconds, 6)}
        _REQUESTS.log(level, "request", extra=fields)


def _id_for(scope: Scope) -> bytes:
    given = [value for name, value in scope["headers"] if name == _HEADER]
    if len(given) == 1 and _USABLE.fullmatch(given[0]):
        return bytes(given[0])
    return new_id().encode()
