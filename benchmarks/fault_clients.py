"""Clients of a server that something happens to: each says what it saw, and waits for nothing long.

Requests are written by hand, since no library sends what some of these are to send.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

MODEL = "model"
_LONGEST_SECONDS = 90.0
_EVENT = re.compile(rb"data: (\{.*?\})\n\n", re.DOTALL)
_END_TOKENS = {"0": -100, "2": -100}  # of SmolLM2: the answers never end by themselves


@dataclass(slots=True)
class Seen:
    """What one client saw. end: "done", "error" (it was told so in the stream), "refused" with a
    status, "cut" or "silence". seconds: from its start to its end."""

    end: str = "cut"
    told: str = ""
    pieces: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class Neighbour:
    """An honest client that asks again and again beside a fault. Seconds."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, object]:
        """For the report."""
        slowest = max(self.seconds, default=0.0)
        return {
            "answers": len(self.seconds),
            "failures": len(self.failures),
            "first_failures": self.failures[:3],
            "slowest_seconds": round(slowest, 3),
        }


def request(method: str, path: str, key: str = "", body: bytes = b"", *headers: str) -> bytes:
    """A whole request of HTTP/1.1, after which the connection may stay."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join((*lines, "", "")).encode() + body


def chat_body(tokens: int, *, stream: bool, text: str = "Tell me about the sea.") -> bytes:
    """An endless answer, cut after so many tokens."""
    document = {
        "model": MODEL,
        "messages": [{"role": "user", "content": text}],
        "max_tokens": tokens,
        "temperature": 0,
        "logit_bias": _END_TOKENS,
        "stream": stream,
    }
    return json.dumps(document).encode()


def chat(key: str, tokens: int, *, stream: bool) -> bytes:
    """A whole request for such an answer."""
    body = chat_body(tokens, stream=stream)
    return request("POST", "/v1/chat/completions", key, body, "Connection: close")


async def stream_over_http(port: int, key: str, tokens: int, seen: Seen) -> None:
    """`seen` is filled as it goes on."""
    started = time.perf_counter()
    received = b""
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(chat(key, tokens, stream=True))
            while data := await reader.read(1 << 16):
                received += data
                seen.pieces = received.count(b"data: {")
            writer.close()
    except TimeoutError:
        seen.end = "silence"
    except OSError as error:
        seen.told = type(error).__name__
    else:
        _read_end(received, seen)
    seen.seconds = time.perf_counter() - started


def _read_end(received: bytes, seen: Seen) -> None:
    if not received.startswith(b"HTTP/1.1 200"):
        seen.end, seen.told = "refused", received[9:12].decode(errors="replace")
        return
    events = [json.loads(each) for each in _EVENT.findall(received)]
    if events and "error" in events[-1]:
        seen.end, seen.told = "error", str(events[-1]["error"].get("code"))
    elif b"data: [DONE]" in received:
        seen.end = "done"


async def stream_over_web_socket(port: int, key: str, tokens: int, seen: Seen) -> None:
    """The same over a WebSocket."""
    started = time.perf_counter()
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            reader, writer = await open_web_socket(port)
            writer.write(text_frame({"type": "auth", "api_key": key}))
            parameters = {"prompt": "1, 2, 3, 4,", "stream": True, "max_tokens": tokens}
            call = {"id": "1", "function": "generate", "params": parameters | {"temperature": 0.0}}
            writer.write(text_frame(call))
            while True:
                answer = json.loads(await read_frame(reader) or b'{"status": "closed"}')
                status = answer.get("status")
                seen.pieces += status == "streaming"
                if status in ("complete", "error", "closed"):
                    break
            seen.end = {"complete": "done", "closed": "cut"}.get(status, status)
            seen.told = str(answer.get("error", {}).get("code", ""))
            writer.close()
    except TimeoutError:
        seen.end = "silence"
    except (OSError, EOFError) as error:
        seen.told = type(error).__name__
    seen.seconds = time.perf_counter() - started


async def open_web_socket(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Upgraded. Raises OSError when it was refused."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(upgrade())
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        raise ConnectionResetError("no answer") from None
    if not head.startswith(b"HTTP/1.1 101"):
        writer.close()
        raise ConnectionRefusedError(head[9:12].decode(errors="replace"))
    return reader, writer


def upgrade() -> bytes:
    """The request that makes a WebSocket of a connection (RFC 6455)."""
    key = base64.b64encode(os.urandom(16)).decode()
    headers = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}")
    return request("GET", "/ws", "", b"", *headers, "Sec-WebSocket-Version: 13")


def text_frame(document: object) -> bytes:
    """JSON as a client's frame."""
    return frame(1, json.dumps(document).encode())


def frame(operation: int, payload: bytes, *, first: int = 0x80, masked: bool = True) -> bytes:
    """A client's frame. first: the bits before the operation."""
    size = len(payload)
    bit = 0x80 if masked else 0
    if size < 126:
        head = struct.pack("!BB", first | operation, bit | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", first | operation, bit | 126, size)
    else:
        head = struct.pack("!BBQ", first | operation, bit | 127, size)
    return head + (bytes(4) if masked else b"") + payload  # a mask of zeros changes nothing


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """The next text of the server; None when it closes. Raises IncompleteReadError."""
    while True:
        first, size = await reader.readexactly(2)
        if size == 126:
            (size,) = struct.unpack("!H", await reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await reader.readexactly(8))
        payload = await reader.readexactly(size)
        if first & 15 == 8:
            return None
        if first & 15 == 1:
            return payload


async def ask_again_and_again(
    port: int, keys: Sequence[str], neighbour: Neighbour, over: asyncio.Event, pause: float = 0.05
) -> None:
    """Short answers with each key in turns until it is over."""
    number = 0
    while not over.is_set():
        key = keys[number % len(keys)]
        number += 1
        started = time.perf_counter()
        status = await status_of(port, chat(key, 4, stream=False))
        neighbour.seconds.append(time.perf_counter() - started)
        if status != "200":
            neighbour.failures.append(status)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), pause)


async def status_of(port: int, data: bytes, seconds: float = 60.0) -> str:
    """Of the answer to these bytes, or what came instead of one."""
    answer = await answer_to(port, data, seconds)
    if answer is None:
        return "silence"
    return answer[9:12].decode(errors="replace") if answer.startswith(b"HTTP/1.1 ") else "cut"


async def answer_to(port: int, data: bytes, seconds: float = 60.0) -> bytes | None:
    """All that comes until the connection ends; None when it does not."""
    received = bytearray()
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(data)
                while part := await reader.read(1 << 16):
                    received += part
            finally:
                writer.close()
    except TimeoutError:
        return None
    except OSError:
        pass
    return bytes(received)


def reset_at_close(writer: asyncio.StreamWriter) -> None:
    """The connection will end with a reset, as of a process that was killed."""
    plain = writer.get_extra_info("socket")
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def counted(seen: Sequence[Seen]) -> dict[str, int]:
    """How many ended how."""
    return dict(Counter(f"{each.end} {each.told}".strip() for each in seen))
