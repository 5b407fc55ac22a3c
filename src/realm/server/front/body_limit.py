"""How much of a request's body is read.

The limit is the server's own until a route that takes uploads sets another for its request.
"""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_KEY = "realm.body_limit"


class BodyLimit:
    """An ASGI application around another. Reading more than the limit raises a 413, before any of
    the body is read where its length was announced."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[_KEY] = self._most_bytes
        announced = _content_length(scope)
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                most_bytes = scope[_KEY]
                if max(seen, announced) > most_bytes:
                    text = f"the body is longer than {most_bytes} bytes"
                    raise HTTPException(413, text)
            return message

        await self._app(scope, limited, send)


def set_body_limit(request: Request, most_bytes: int) -> None:
    """This request's body may have so many bytes. Before it is read."""
    request.scope[_KEY] = most_bytes


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and len(value) < 20:
            return int(value)
    return 0
