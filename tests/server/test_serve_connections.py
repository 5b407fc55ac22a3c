"""Connections that clients leave open, fill with headers or do not read: on real sockets."""

import asyncio
import contextlib
import socket
import struct
from pathlib import Path

import pytest
import uvicorn
import websockets

from realm.server.front.connection import bounded_protocols
from realm.server.settings import Settings

_LAST = b"x\r\nconnection: close\r\n"
_FOLLOWING = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def _app(scope, receive, send):
    """Answers with as many bytes as the path says, once the body is here, in parts unless it is
    asked for the whole; echoes WebSockets."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    while (await receive()).get("more_body"):
        pass
    size = int(scope["path"][1:] or 2)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    step = size if scope["query_string"] == b"whole" else 1000
    for _ in range(size // step):
        await send({"type": "http.response.body", "body": bytes(step), "more_body": True})
    await send({"type": "http.response.body", "body": b"ok"})


@contextlib.asynccontextmanager
async def _serving(**changes):
    """The port of a server with these settings, and its state."""
    settings = Settings(data_directory=Path("/x"), database_url="sqlite://", **changes)
    http, web_socket = bounded_protocols(settings)
    config = uvicorn.Config(
        _app, http=http, ws=web_socket, lifespan="off", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32 << 10)
    task = asyncio.create_task(server._serve([listener]))
    try:
        yield listener.getsockname()[1], server.server_state
    finally:
        server.should_exit = server.force_exit = True
        await task


async def _talk(port, *parts):
    """Sends the parts, then reads until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), 10)
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n",
        b"G",
        b"GET / HTTP/1.1\r\nhost:",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
    ],
)
def test_a_client_that_stops_talking_is_let_go_of(data):
    async def run():
        async with _serving(header_seconds=0.15) as (port, state):
            assert await _talk(port, data) == b""
            assert not state.connections

    asyncio.run(run())


def test_dribbled_headers_do_not_buy_time():
    async def run():
        async with _serving(header_seconds=0.2) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            ended = asyncio.create_task(reader.read())
            sent = 0
            while not ended.done():
                writer.write(b"x")
                sent += 1
                await asyncio.wait([ended], timeout=0.02)
            assert sent < 100
            writer.close()

    asyncio.run(run())


def test_a_slow_body_that_goes_on_is_taken():
    async def run():
        async with _serving(header_seconds=0.8) as (port, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\n")
            answer = asyncio.create_task(reader.readline())
            for _ in range(6):
                await asyncio.wait([answer], timeout=0.2)
                assert not answer.done()
                writer.write(b"x")
            assert await answer == b"HTTP/1.1 200 OK\r\n"
            writer.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "parts",
    [
        [b"GET / HTTP/1.1\r\nhost: x\r\nx-a: " + b"a" * 5000],
        [b"GET / HTTP/1.1\r\nhost: x\r\n", *[b"x-b: " + b"b" * 50 + b"\r\n"] * 100],
        [b"GET /" + b"1" * 5000 + b" HTTP/1.1\r\nhost: x\r\n\r\n"],
        [_FOLLOWING, b"GET / HTTP/1.1\r\n", *[b"x-b: " + b"b" * 50 + b"\r\n"] * 100],
    ],
)
def test_headers_that_are_too_long(parts):
    async def run():
        async with _serving(max_header_bytes=4096) as (port, state):
            answer = await _talk(port, *parts)
            assert b"HTTP/1.1 431 " in answer or answer == b""  # reset while it still sends
            assert not state.connections
            assert b"200 OK" in await _talk(
                port, _FOLLOWING.replace(b"x\r\n", b"x\r\nconnection: close\r\n")
            )

    asyncio.run(run())


def test_what_is_no_http_is_refused():
    async def run():
        async with _serving() as (port, _):
            for data in (b"\x16\x03\x01\x02\x00" + bytes(50), b"hello\r\n\r\n", bytes(100)):
                assert (await _talk(port, data)).startswith(b"HTTP/1.1 400")

    asyncio.run(run())


async def _ask_and_never_read(port, size, buffer_bytes):
    """The client's end of the connection, after it asked for so many bytes."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, b"GET /%d?whole HTTP/1.1\r\nhost: %s\r\n" % (size, _LAST))
    return client


def test_an_answer_whose_end_nobody_reads_holds_no_connection():
    """However little of it is left in the server when it has been written."""

    async def run():
        async with _serving(header_seconds=0.15) as (port, state):
            sizes = range(10_000, 300_000, 10_000)
            clients = [await _ask_and_never_read(port, size, 1) for size in sizes]
            async with asyncio.timeout(10):
                assert await _talk(port, _FOLLOWING.replace(b"x\r\n", _LAST))  # all are in by now
                while state.connections:
                    await asyncio.sleep(0.01)
            for client in clients:
                client.close()

    asyncio.run(run())


def test_a_client_that_reads_slowly_gets_all():
    async def run():
        async with _serving(header_seconds=0.3) as (port, _):
            client = await _ask_and_never_read(port, 400_000, 8192)
            received, loop = 0, asyncio.get_running_loop()
            async with asyncio.timeout(20):
                while data := await loop.sock_recv(client, 1 << 14):
                    received += len(data)
                    await asyncio.sleep(0.03)  # the client's own pace, longer than its deadline
            client.close()
            assert received > 400_000

    asyncio.run(run())


def test_a_client_that_does_not_read_is_let_go_of():
    async def run():
        async with _serving(header_seconds=0.2) as (port, state):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            writer.transport.pause_reading()
            writer.write(b"GET /50000000 HTTP/1.1\r\nhost: x\r\n\r\n")
            while not state.connections:
                await asyncio.sleep(0.01)
            while state.connections:
                await asyncio.sleep(0.01)
            writer.close()
            del reader

    asyncio.run(asyncio.wait_for(run(), 10))


def test_more_connections_than_there_may_be_are_told_so():
    async def run():
        async with _serving(max_connections=3) as (port, state):
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            while len(state.connections) < 3:
                await asyncio.sleep(0)
            answer = await _talk(port, _FOLLOWING)
            assert answer.startswith(b"HTTP/1.1 503") or answer == b""
            for _, writer in held:
                writer.close()
            while state.connections:
                await asyncio.sleep(0.01)
            assert b"200 OK" in await _talk(
                port, _FOLLOWING.replace(b"x\r\n", b"x\r\nconnection: close\r\n")
            )

    asyncio.run(asyncio.wait_for(run(), 10))


def test_thousands_of_connections_that_are_dropped_leave_nothing():
    async def run():
        async with _serving() as (port, state):
            for _ in range(1000):
                client = socket.create_connection(("127.0.0.1", port))
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()  # with a reset
                await asyncio.sleep(0)
            assert b"200 OK" in await _talk(
                port, _FOLLOWING.replace(b"x\r\n", b"x\r\nconnection: close\r\n")
            )
            while state.connections:
                await asyncio.sleep(0.01)
            assert not state.tasks

    asyncio.run(asyncio.wait_for(run(), 20))


def test_requests_one_after_another_and_at_once_on_one_connection():
    async def run():
        async with _serving() as (port, _):
            last = _FOLLOWING.replace(b"x\r\n", b"x\r\nconnection: close\r\n")
            answer = await _talk(port, _FOLLOWING * 5, _FOLLOWING, last)
            assert answer.count(b"200 OK") == 7

    asyncio.run(run())


def test_web_sockets_outlive_the_time_for_headers():
    async def run():
        async with (
            _serving(header_seconds=0.1) as (port, state),
            websockets.connect(f"ws://127.0.0.1:{port}/") as client,
        ):
            for _ in range(3):
                assert await _talk(port, b"G") == b""  # ends when its time is over
            await client.send("there")
            assert await client.recv() == "there"
            assert len(state.connections) == 1

    asyncio.run(run())
