"""What is written in one turn of the event loop goes out in one call.

An answer's headers and its body come one after the other: two calls of the system, and two times
that the client is woken.
"""

from __future__ import annotations

import asyncio
from typing import Any

_MOST_GATHERED = 64 << 10  # bytes that wait for the turn's end


class GatheredWrites:
    """An asyncio.Transport in front of another; all that is not about writing is the other's."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """See asyncio.WriteTransport."""
        if not self._parts:
            self._loop.call_soon(self._send)
        self._parts.append(data)
        self._size += len(data)
        if self._size > _MOST_GATHERED:
            self._send()

    def close(self) -> None:
        """See asyncio.BaseTransport: what was written is sent before."""
        self._send()
        self._transport.close()

    def abort(self) -> None:
        """See asyncio.WriteTransport: what was written is lost."""
        self._parts.clear()
        self._size = 0
        self._transport.abort()

    def get_write_buffer_size(self) -> int:
        """See asyncio.WriteTransport."""
        return self._size + self._transport.get_write_buffer_size()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _send(self) -> None:
        if self._parts:
            data = b"".join(self._parts)
            self._parts.clear()
            self._size = 0
            if not self._transport.is_closing():
                self._transport.write(data)
