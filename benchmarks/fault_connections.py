"""Faults of clients: slow, silent, gone, and ten thousand of them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from fault_clients import (
    Neighbour,
    ask_again_and_again,
    chat,
    chat_body,
    frame,
    open_web_socket,
    read_frame,
    request,
    reset_at_close,
    text_frame,
    upgrade,
)
from fault_ground import Finding, Ground

_SLOW_CLIENTS = 64
_SILENT_CLIENTS = 500
_SILENT_WEB_SOCKETS = 20
_ROUNDS, _ROUND = 5, 2000
_AT_ONCE = 100
_HEADER_SECONDS = 3.0  # as the ground's settings have it
_PING_SECONDS = 45.0  # until uvicorn lets go of a WebSocket that answers no ping
_KEY_SECONDS = 25.0  # until it lets go of one without a key: ten, and ten for its farewell
_SLOWEST_SECONDS = 5.0
_GROWTH_BYTES = 4 << 20  # of a process in the last two rounds, where nothing is new any more
Way = Callable[[Ground, int], Awaitable[str]]


async def _with_neighbour(ground: Ground, finding: Finding, act: Awaitable[None]) -> None:
    """Honest clients ask beside it; they must all be answered."""
    neighbour, over = Neighbour(), asyncio.Event()
    asking = ask_again_and_again(ground.port, ground.speaking_keys, neighbour, over)
    task = asyncio.create_task(asking)
    try:
        await act
    finally:
        over.set()
        await task
    finding.seen["neighbours"] = neighbour.figures()
    finding.require(neighbour.seconds and not neighbour.failures, "honest clients were refused")
    slowest = max(neighbour.seconds, default=0.0)
    finding.require(slowest <= _SLOWEST_SECONDS, f"honest clients waited {slowest:.1f} s")


async def _closed_after(data: bytes, port: int, rest: bytes, most: float) -> tuple[str, float]:
    """Sends `data`, then `rest` a byte each 0.2 s, until the server answers or closes."""
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    answer = asyncio.create_task(reader.read(1 << 16))
    end = "silence"
    try:
        for number in range(int(most / 0.2)):
            done, _ = await asyncio.wait([answer], timeout=0.2)
            if done:
                got = answer.result()
                end = got[9:12].decode(errors="replace") if got else "closed"
                break
            if number < len(rest):
                writer.write(rest[number : number + 1])
    except OSError:
        end = "closed"
    finally:
        answer.cancel()
        writer.close()
    return end, time.perf_counter() - started


async def _slowly(ground: Ground, finding: Finding, data: bytes, rest: bytes, wanted: str) -> None:
    """Many such clients. wanted: how each is to end."""
    found = await asyncio.gather(
        *(_closed_after(data, ground.port, rest, 30.0) for _ in range(_SLOW_CLIENTS))
    )
    slowest = max(seconds for _, seconds in found)
    finding.seen |= {
        "ends": dict(Counter(end for end, _ in found)),
        "slowest_seconds": round(slowest, 2),
    }
    finding.require({end for end, _ in found} == {wanted}, f"they did not end with {wanted}")


def slow_headers(ground: Ground, finding: Finding) -> None:
    """64 clients send their headers byte by byte."""
    rest = request("GET", "/v1/models", ground.keys["plain"], b"", "X-Slow: " + 400 * "x")
    slowly = _slowly(ground, finding, b"", rest, "closed")
    asyncio.run(_with_neighbour(ground, finding, slowly))
    late = finding.seen["slowest_seconds"]
    finding.require(late <= _HEADER_SECONDS + 2.0, f"they were held for {late} s")


def slow_bodies(ground: Ground, finding: Finding) -> None:
    """64 clients send the end of their body byte by byte: that is allowed, and is answered."""
    whole = chat(ground.keys["plain"], 2, stream=False)
    slowly = _slowly(ground, finding, whole[:-40], whole[-40:], "200")
    asyncio.run(_with_neighbour(ground, finding, slowly))


def bodies_that_stop(ground: Ground, finding: Finding) -> None:
    """64 clients announce a body and send half of it."""
    whole = chat(ground.keys["plain"], 2, stream=False)
    slowly = _slowly(ground, finding, whole[:-40], b"", "closed")
    asyncio.run(_with_neighbour(ground, finding, slowly))
    late = finding.seen["slowest_seconds"]
    finding.require(late <= _HEADER_SECONDS + 2.0, f"they were held for {late} s")


def never_reading(ground: Ground, finding: Finding) -> None:
    """Clients ask for long streams and read nothing, twelve over HTTP, four over WebSocket."""

    async def plain(data: bytes) -> socket.socket:
        """A connection with the smallest buffers, that is never read from here on."""
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, ("127.0.0.1", ground.port))
        await loop.sock_sendall(connection, data)
        return connection

    async def act() -> None:
        key = ground.keys["plain"]
        call = {"id": "1", "function": "generate"}
        parameters = {"prompt": "1, 2, 3, 4,", "max_tokens": 4000, "stream": True}
        many = upgrade() + text_frame({"type": "auth", "api_key": key})
        for number in range(8):
            many += text_frame(call | {"id": str(number), "params": parameters})
        body = chat_body(4000, stream=True)[:-1] + b', "logprobs": true, "top_logprobs": 20}'
        much = request("POST", "/v1/chat/completions", key, body)
        opened = [await plain(much) for _ in range(12)]
        opened += [await plain(many) for _ in range(4)]
        started = time.perf_counter()
        while time.perf_counter() - started < 90.0:
            await asyncio.sleep(0.25)
            if await asyncio.to_thread(_running, ground, "plain") == 0:
                break
        finding.seen["seconds_until_nothing_runs"] = round(time.perf_counter() - started, 1)
        for connection in opened:
            connection.close()

    asyncio.run(_with_neighbour(ground, finding, act()))
    finding.require(_running(ground, "plain") == 0, "their generations still run")


def half_open(ground: Ground, finding: Finding) -> None:
    """500 connections that say nothing, 500 that vanish in a request, WebSockets without pongs."""
    key = ground.keys["plain"]

    async def silent(data: bytes, most: float) -> bool:
        """Whether the server ended the connection in time."""
        reader, writer = await asyncio.open_connection("127.0.0.1", ground.port)
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            try:
                async with asyncio.timeout(most):
                    while await reader.read(1 << 16):
                        pass
            except TimeoutError:
                return False
            finally:
                writer.close()
        return True

    async def act() -> None:
        whole = chat(key, 2000, stream=True)
        parts = [b"", b"POST /v1/chat/comp", whole[:-20]]
        http = [silent(parts[n % 3], _HEADER_SECONDS + 4.0) for n in range(_SILENT_CLIENTS)]
        authenticated = upgrade() + text_frame({"type": "auth", "api_key": key})
        sockets = [silent(authenticated, _PING_SECONDS) for _ in range(_SILENT_WEB_SOCKETS)]
        sockets += [silent(upgrade(), _KEY_SECONDS) for _ in range(_SILENT_WEB_SOCKETS)]
        ended = await asyncio.gather(*http, *sockets)
        finding.seen["ended_in_time"] = {
            "http": f"{sum(ended[: len(http)])} of {len(http)}",
            "web_sockets": f"{sum(ended[len(http) :])} of {len(sockets)}",
        }
        finding.require(all(ended), "connections of silent clients stay")
        await _in_turns(ground, [_reset_in_request, _reset_in_stream], _SILENT_CLIENTS)

    asyncio.run(_with_neighbour(ground, finding, act()))
    _nothing_runs(ground, finding)


async def _in_turns(ground: Ground, ways: Sequence[Way], count: int) -> Counter[str]:
    """So many connections, a hundred at once. How they ended."""
    places = asyncio.Semaphore(_AT_ONCE)
    found: Counter[str] = Counter()

    async def one(number: int) -> None:
        way = ways[number % len(ways)]
        async with places:
            try:
                async with asyncio.timeout(60.0):
                    end = await way(ground, number)
            except TimeoutError:
                end = "hangs"
            except (OSError, EOFError) as error:
                end = str(error) if isinstance(error, ConnectionRefusedError) else "reset"
        found[f"{way.__name__.strip('_')}: {end}"] += 1

    await asyncio.gather(*(one(number) for number in range(count)))
    return found


async def _only_connected(ground: Ground, number: int) -> str:
    del number
    _, writer = await asyncio.open_connection("127.0.0.1", ground.port)
    writer.close()
    return "dropped"


async def _reset_at_once(ground: Ground, number: int) -> str:
    return await _sent_and_reset(ground, b"" if number % 2 else b"GET /v1/mod")


async def _reset_in_request(ground: Ground, number: int) -> str:
    return await _sent_and_reset(ground, chat(_key(ground, number), 2000, stream=True)[:-20])


async def _gone_before_the_answer(ground: Ground, number: int) -> str:
    return await _sent_and_reset(ground, chat(_key(ground, number), 2000, stream=number % 2 == 0))


async def _sent_and_reset(ground: Ground, data: bytes) -> str:
    _, writer = await asyncio.open_connection("127.0.0.1", ground.port)
    writer.write(data)
    reset_at_close(writer)
    writer.close()
    return "dropped"


async def _reset_in_stream(ground: Ground, number: int) -> str:
    """Once the first text has come."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ground.port)
    writer.write(chat(_key(ground, number), 2000, stream=True))
    try:
        status = (await reader.readline())[9:12].decode()
        await reader.readuntil(b"data: {")
    finally:
        reset_at_close(writer)
        writer.close()
    return status


async def _web_socket_opened(ground: Ground, number: int) -> str:
    _, writer = await open_web_socket(ground.port)
    if number % 2:
        reset_at_close(writer)
    writer.close()
    return "dropped"


async def _web_socket_closed(ground: Ground, number: int) -> str:
    """With a key, a health call and a proper end."""
    reader, writer = await open_web_socket(ground.port)
    writer.write(text_frame({"type": "auth", "api_key": _key(ground, number)}))
    writer.write(text_frame({"id": "1", "function": "health"}))
    while b'"complete"' not in (await read_frame(reader) or b'"complete"'):
        pass
    writer.write(frame(8, b"\x03\xe8"))
    while await read_frame(reader):
        pass
    writer.close()
    return "closed"


async def _web_socket_lost_in_stream(ground: Ground, number: int) -> str:
    reader, writer = await open_web_socket(ground.port)
    parameters = {"prompt": "1, 2, 3, 4,", "max_tokens": 2000, "stream": True}
    writer.write(text_frame({"type": "auth", "api_key": _key(ground, number)}))
    writer.write(text_frame({"id": "1", "function": "generate", "params": parameters}))
    while b'"streaming"' not in (last := await read_frame(reader) or b'"error" end'):
        if b'"error"' in last:
            return "told"
    reset_at_close(writer)
    writer.close()
    return "dropped"


def connections_dropped(ground: Ground, finding: Finding) -> None:
    """10,000 connections opened and dropped: bare, in the headers, before and in the answer."""
    ways = [_only_connected, _reset_at_once, _reset_in_request, _gone_before_the_answer]
    _flooded(ground, finding, [*ways, _reset_in_stream])


def web_sockets_dropped(ground: Ground, finding: Finding) -> None:
    """10,000 WebSockets opened and dropped: before the key, after a call, in a stream."""
    _flooded(ground, finding, [_web_socket_opened, _web_socket_closed, _web_socket_lost_in_stream])


def _flooded(ground: Ground, finding: Finding, ways: Sequence[Way]) -> None:
    """In rounds; in the last two nothing grows any more."""
    ends: Counter[str] = Counter()
    resident: dict[str, list[int]] = {"front": [], "engine": []}

    async def act() -> None:
        for _ in range(_ROUNDS):
            ends.update(await _in_turns(ground, ways, _ROUND))
            await asyncio.sleep(1.0)
            for name, figures in ground.figures().items():
                resident[name].append(figures["resident_bytes"])

    started = time.perf_counter()
    asyncio.run(_with_neighbour(ground, finding, act()))
    seconds = time.perf_counter() - started
    finding.seen |= {
        "ends": dict(ends),
        "connections_per_second": round(_ROUNDS * _ROUND / seconds),
        "mebibytes_after_rounds": {
            name: [round(each / 2**20, 1) for each in sizes] for name, sizes in resident.items()
        },
    }
    finding.require(not any("hangs" in end for end in ends), "some got no answer")
    for name, sizes in resident.items():
        growth = sizes[-1] - sizes[-3]
        finding.require(growth <= _GROWTH_BYTES, f"the {name} still grew by {growth} bytes")
    _nothing_runs(ground, finding)


def _nothing_runs(ground: Ground, finding: Finding) -> None:
    """Generations of clients that have gone end."""
    end = time.monotonic() + 10.0
    while (left := sum(_running(ground, name) for name in ground.keys)) and time.monotonic() < end:
        time.sleep(0.1)
    finding.require(left == 0, f"{left} generations of clients that have gone still run")


def _running(ground: Ground, tenant_id: str) -> int:
    status, document = ground.call(
        "GET", f"/admin/tenants/{tenant_id}", b"", ground.served.admin_key
    )
    return int(document["running"]) if status == 200 else -1


def _key(ground: Ground, number: int) -> str:
    keys = ground.speaking_keys
    return keys[number % len(keys)]
