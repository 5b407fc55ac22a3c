"""Faults of the bytes: requests and frames that are spoiled at random, from a fixed seed."""

from __future__ import annotations

import asyncio
import random
import struct
from collections import Counter

from fault_clients import answer_to, chat, frame, open_web_socket, read_frame, request, text_frame
from fault_ground import Finding, Ground

_SEED = 7
_REQUESTS, _FRAMES = 3000, 3000
_AT_ONCE = 50
_PATIENCE_SECONDS = 15.0
_POST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
_OTHERS = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET http://[::1 HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"x-y: z\r\n" * 20_000 + b"\r\n",
    _POST + b"content-length: -5\r\n\r\nabcde",
    _POST + b"content-length: 99999999999999999999\r\n\r\n",
    _POST + b"content-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
    _POST + b"transfer-encoding: chunked\r\n\r\nzz\r\nab\r\n",
    _POST + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\nffffffffffffffff\r\nab\r\n",
    b"GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    b"GET /ws HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: !!!\r\n\r\n",
    b"\x00" * 5000,
    b"\r\n" * 5000,
)
_INSERTED = (b"\r\n", b"\r\n\r\n", b"\x00", b":", b" ", b"%00")
_BODIES = (
    b"[" * 100_000,
    b'{"model": "model", "messages": ' + b'[{"a":' * 20_000,
    b'{"model": "model", "messages": [{"role": "user", "content": "\xff\xfe"}]}',
    b'{"model": "model", "prompt": [1e999]}',
    b'{"max_tokens": 1' + b"0" * 5000 + b"}",
    b'"' + b"\\ud800" * 1000 + b'"',
    b"null",
    b"\x1f\x8b\x08\x00",
)


def _spoiled(chance: random.Random, data: bytes) -> bytes:
    """With bytes changed, removed, doubled, or its end cut off."""
    spoiled = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        place = chance.randrange(len(spoiled) + 1)
        what = chance.randrange(5)
        if what == 0 and place < len(spoiled):
            spoiled[place] = chance.randrange(256)
        elif what == 1:
            del spoiled[place : place + chance.randrange(1, 20)]
        elif what == 2:
            spoiled[place:place] = chance.randbytes(chance.randrange(1, 40))
        elif what == 3:
            spoiled[place:place] = spoiled[max(0, place - 30) : place]
        else:
            spoiled[place:place] = chance.choice(
                (b"\r\n", b"\r\n\r\n", b"\x00", b":", b" ", b"%00")
            )
    return bytes(spoiled)


def malformed_requests(ground: Ground, finding: Finding) -> None:
    """3,000 spoiled HTTP requests: each is answered or closed, none with a fault of the server."""
    chance = random.Random(_SEED)
    key = ground.keys["plain"]
    sound = [
        chat(key, 2, stream=False),
        chat(key, 2, stream=True),
        request("GET", "/v1/models", key, b"", "Connection: close"),
        request("PUT", "/admin/tenants/spoiled", key, b'{"weight": 2.0}', "Connection: close"),
        request("GET", "/admin/tenants?limit=5", key, b"", "Connection: close"),
    ]
    sent = list(_OTHERS)
    sent += [
        request("POST", f"/v1/{path}", key, body, "Connection: close")
        for body in _BODIES
        for path in ("chat/completions", "completions", "embeddings")
    ]
    while len(sent) < _REQUESTS:
        sent.append(_spoiled(chance, chance.choice(sound)))
    found: Counter[str] = Counter()
    failed: list[bytes] = []

    async def one(data: bytes, places: asyncio.Semaphore) -> None:
        async with places:
            answer = await answer_to(ground.port, data, _PATIENCE_SECONDS)
        end = "hangs" if answer is None else answer[9:12].decode(errors="replace") or "closed"
        found[end] += 1
        if end in ("hangs", "500"):
            failed.append(data)

    async def act() -> None:
        places = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(one(data, places) for data in sent))

    # A spoiled max_tokens would mean an answer without end.
    ground.administer("PATCH", "/admin/tenants/plain", b'{"limits": {"max_tokens": 8}}')
    asyncio.run(act())
    ground.administer("PATCH", "/admin/tenants/plain", b'{"limits": {"max_tokens": null}}')
    finding.seen["ends"] = dict(found.most_common())
    finding.seen["first_failed"] = [repr(each[-300:]) for each in failed[:3]]
    finding.require(not found["hangs"], f"{found['hangs']} got no answer")
    finding.require(not found["500"], f"{found['500']} were faults of the server")
    _log_is_clean(ground, finding)


def _frames(chance: random.Random) -> bytes:
    """What a client sends after its key."""
    call = {"id": "1", "function": "generate", "params": {"prompt": "a", "max_tokens": 2}}
    sound = text_frame(call)
    return chance.choice(
        (
            lambda: _spoiled(chance, sound),
            lambda: frame(chance.randrange(16), chance.randbytes(chance.randrange(200))),
            lambda: frame(1, sound[6:], first=chance.choice((0xC0, 0xA0, 0x90, 0xF0))),
            lambda: frame(1, b'{"id": "1"}', masked=False),
            lambda: frame(1, chance.randbytes(50)),
            lambda: frame(9, bytes(chance.choice((125, 126, 70_000)))),
            lambda: struct.pack("!BBQ", 0x81, 0xFF, chance.choice((1 << 63, 1 << 62, 1 << 30))),
            lambda: frame(8, struct.pack("!H", chance.randrange(1 << 16)) + chance.randbytes(3)),
            lambda: frame(0, b"continued without a beginning"),
            lambda: frame(1, b'{"id": ', first=0) + frame(1, b"a beginning in between"),
            lambda: frame(1, b'{"id": ', first=0) + frame(9, b"x") + frame(0, b'"1"}'),
            lambda: frame(1, b"[" * chance.choice((10, 100_000))),
            lambda: frame(1, b'{"id": "1", "function": "generate", "params": "x"}'),
            lambda: frame(1, b'{"id": 1e999, "function": null}'),
            lambda: frame(2, chance.randbytes(1000)),
            lambda: frame(1, b"x" * 100) * 50,
            lambda: chance.randbytes(chance.randrange(1, 500)),
        )
    )()


def malformed_frames(ground: Ground, finding: Finding) -> None:
    """3,000 WebSockets that send spoiled frames, before their key and after it."""
    chance = random.Random(_SEED)
    sent = [(_frames(chance), number % 3 != 0) for number in range(_FRAMES)]
    found: Counter[str] = Counter()

    async def one(data: bytes, has_key: bool, places: asyncio.Semaphore) -> None:
        async with places:
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    found[await _ended(ground, data, has_key)] += 1
            except TimeoutError:
                found["hangs"] += 1
            except (OSError, EOFError):
                found["closed"] += 1

    async def act() -> None:
        places = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(one(data, has_key, places) for data, has_key in sent))

    asyncio.run(act())
    finding.seen["ends"] = dict(found.most_common())
    finding.require(not found["hangs"], f"{found['hangs']} got no answer")
    _log_is_clean(ground, finding)


async def _ended(ground: Ground, data: bytes, has_key: bool) -> str:
    """Sends it and a proper end; the server must close."""
    reader, writer = await open_web_socket(ground.port)
    try:
        if has_key:
            writer.write(text_frame({"type": "auth", "api_key": ground.keys["plain"]}))
        writer.write(data)
        writer.write(frame(8, b"\x03\xe8"))
        writer.write_eof()
        while await read_frame(reader):
            pass
    finally:
        writer.close()
    return "closed properly"


def _log_is_clean(ground: Ground, finding: Finding) -> None:
    """Nothing that a client sends is a fault of the server."""
    log = ground.log()
    finding.require("Traceback" not in log, "the log has a traceback")
    first = log.find("Traceback")
    if first >= 0:
        finding.seen["traceback"] = log[first : first + 3000]
