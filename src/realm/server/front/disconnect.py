"""Clients that go away before their answer is there: what runs for them is cancelled at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from realm.server.front.failures import failure_of

_Result = TypeVar("_Result")
Write = Callable[[bytes], Awaitable[None]]


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, _Result]) -> _Result:
    """What the work gives. Cancels it when the client goes, and raises ClientDisconnect.

    receive: of a request whose body was read.
    """
    # The work stays in this task: another would cost each request several turns of the loop.
    here = asyncio.current_task()
    assert here is not None
    is_gone = False

    def interrupt(listening: asyncio.Task[None]) -> None:
        nonlocal is_gone
        if not listening.cancelled():
            is_gone = True
            here.cancel()

    listening = asyncio.create_task(_until_gone(receive))
    listening.add_done_callback(interrupt)
    try:
        return await work
    except asyncio.CancelledError:
        if is_gone and here.cancelling() == 1:
            raise ClientDisconnect from listening.exception()
        raise
    finally:
        listening.remove_done_callback(interrupt)
        listening.cancel()
        if is_gone:
            here.uncancel()


class EventStream(Response):
    """A response of server-sent events as they are written, until the client goes.

    An error before the first event is raised, so that it becomes a response of its own; a later
    one becomes an event in OpenAI's shape.
    """

    media_type = "text/event-stream"

    def __init__(self, produce: Callable[[Write], Coroutine[Any, Any, None]], end: bytes) -> None:
        """produce: writes all events. end: what follows an error's event."""
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._produce = produce
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        del scope
        try:
            await unless_gone(receive, self._send_all(send))
        except ClientDisconnect:
            return

    async def _send_all(self, send: Send) -> None:
        is_started = False

        async def write(events: bytes) -> None:
            nonlocal is_started
            if not is_started:
                is_started = True
                start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                await send(start)
            await send({"type": "http.response.body", "body": events, "more_body": True})

        try:
            await self._produce(write)
        except Exception as error:
            if not is_started:
                raise
            await write(b"data: " + failure_of(error).body() + b"\n\n" + self._end)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
