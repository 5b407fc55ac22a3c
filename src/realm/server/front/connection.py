"""HTTP and WebSocket connections that no client can hold for nothing.

uvicorn's protocols with what it leaves open: how long a client may take over its headers, between
parts of its body and in reading what it is sent, how long its headers may be, and how many
connections there are at once.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from realm.server.front.gathered_writes import GatheredWrites
from realm.server.settings import Settings


class _HeaderTooLongError(Exception):
    pass


class _Reading:
    """Ends a connection whose client reads nothing of what it is sent for so many seconds.

    Also one that is only left open for that: closed, with something still to be sent.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._unsent = 0
        self._deadline: asyncio.TimerHandle | None = None

    def begin(self, transport: asyncio.Transport) -> None:
        """Something waits to be sent. Nothing more is written until all of it has been."""
        self.end()
        self._unsent = transport.get_write_buffer_size()
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._seconds, self._look, transport)

    def end(self) -> None:
        """Nothing waits any more, or the connection has gone."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _look(self, transport: asyncio.Transport) -> None:
        if transport.get_write_buffer_size() < self._unsent:
            self.begin(transport)
        else:
            transport.abort()


class BoundedHttp(HttpToolsProtocol):
    """One connection. It is closed when the client keeps it waiting."""

    settings: Settings

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._is_receiving = True
        self._has_headers = False
        self._header_bytes = 0  # came before the headers were whole
        self._header_count = 0  # of parts that were whole
        self._deadline: asyncio.TimerHandle | None = None
        self._reading = _Reading(self.settings.header_seconds)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol. One connection too many is told so and closed."""
        super().connection_made(GatheredWrites(transport, self.loop))  # type: ignore[arg-type]
        transport.set_write_buffer_limits(0)  # whatever is not yet sent is watched
        if len(self.connections) > self.settings.max_connections:
            self._refuse(b"503 Service Unavailable", b"retry-after: 1\r\n")
        else:
            self._await_client()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._stop_waiting()
        self._reading.end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self.transport.is_closing():
            return
        if not self._has_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing() or self.transport.get_protocol() is not self:
            return  # closed, or a WebSocket from here on
        if not self._has_headers and self._header_bytes > self.settings.max_header_bytes:
            if self._is_receiving:
                self._refuse(b"431 Request Header Fields Too Large", b"")
        elif self._is_receiving and self._has_headers:
            self._await_client()  # each part of a body gives it more time
        elif (self._deadline or self.timeout_keep_alive_task) is None and not self._is_answering():
            self._await_client()  # what came began no request, and stopped uvicorn's own timer

    def on_message_begin(self) -> None:
        """See httptools."""
        super().on_message_begin()
        self._is_receiving = True
        self._header_count = 0
        if self._deadline is None:
            self._await_client()

    def on_url(self, url: bytes) -> None:
        """See httptools."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._has_headers = True
        self._header_bytes = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See httptools."""
        super().on_message_complete()
        self._is_receiving = self._has_headers = False
        self._stop_waiting()

    def send_400_response(self, msg: str) -> None:
        """What the parser refuses."""
        if self._header_count > self.settings.max_header_bytes:
            self._refuse(b"431 Request Header Fields Too Large", b"")
        else:
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        """The client does not read all that it is sent."""
        super().pause_writing()
        self._reading.begin(self.transport)

    def resume_writing(self) -> None:
        """It has."""
        self._reading.end()
        super().resume_writing()

    def _count(self, size: int) -> None:
        self._header_count += size
        if self._header_count > self.settings.max_header_bytes:
            raise _HeaderTooLongError

    def _await_client(self) -> None:
        self._stop_waiting()
        seconds = self.settings.header_seconds
        self._deadline = self.loop.call_later(seconds, self._lose_patience)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _lose_patience(self) -> None:
        """Unless it is this side that takes its time."""
        self._deadline = None
        if self.flow.read_paused or (self._is_answering() and not self._has_headers):
            self._await_client()
        elif not self.transport.is_closing():
            self.transport.abort()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: bytes, header: bytes) -> None:
        self._stop_waiting()
        self.transport.write(
            b"HTTP/1.1 " + status + b"\r\n" + header + b"content-length: 0\r\n"
            b"connection: close\r\n\r\n"
        )  # fmt: skip
        self.transport.close()


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """The same after the upgrade. Peers that are gone are found by uvicorn's pings."""

    settings: Settings

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._reading = _Reading(self.settings.header_seconds)

    def pause_writing(self) -> None:
        """The client does not read all that it is sent."""
        super().pause_writing()
        self._reading.begin(self.transport)

    def resume_writing(self) -> None:
        """It has."""
        self._reading.end()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._reading.end()
        super().connection_lost(exc)


def bounded_protocols(
    settings: Settings,
) -> tuple[type[asyncio.Protocol], type[asyncio.Protocol]]:
    """The classes of both kinds of connections, as uvicorn's configuration takes them."""
    http = type("BoundedHttp", (BoundedHttp,), {"settings": settings})
    web_socket = type("BoundedWebSocket", (BoundedWebSocket,), {"settings": settings})
    return http, web_socket
