"""The client against an engine that says what a test wants: credit, loss, nonsense."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading

import msgspec
import pytest

from realm.errors import CancelledError, EngineUnavailableError, RateLimitError
from realm.server.front.engine_client import EngineClient
from realm.server.front.engine_port import GenerateCall
from realm.server.wire import messages as wire
from realm.server.wire.frames import FrameEncoder, FrameSplitter, decode_question

CALL = GenerateCall("a", "m", prompt="x")


class ScriptedEngine:
    """The socket's other end: `hear` gives the next question, `say` answers."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._encoder = FrameEncoder()
        self._splitter = FrameSplitter()
        self._heard: list[wire.Question] = []

    async def hear(self):
        while not self._heard:
            data = await asyncio.get_running_loop().sock_recv(self._sock, 1 << 20)
            assert data, "the client has gone"
            self._heard += [decode_question(each) for each in self._splitter.feed(data)]
        return self._heard.pop(0)

    async def say(self, *answers) -> None:
        await self.send(b"".join(self._encoder.encode(each) for each in answers))

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    def leave(self) -> None:
        self._sock.close()


def talk(conversation) -> None:
    async def run():
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        client = await EngineClient.connect(ours)
        engine = ScriptedEngine(theirs)
        try:
            await asyncio.wait_for(conversation(client, engine), 30)
        finally:
            await client.close()
            engine.leave()

    asyncio.run(run())


def piece(number: int, text: str = "x") -> wire.Piece:
    return wire.Piece(number, text, [1])


def finished(number: int) -> wire.Finished:
    return wire.Finished(number, "xx", [1, 1], 3, "stop", {})


async def settled(engine, client) -> None:
    """Returns when the client has dealt with all that was said so far."""
    asking = asyncio.create_task(client.figures())
    question = await engine.hear()
    await engine.say(wire.Figures(question.number, {}, {}))
    await asking


def test_pieces_of_several_requests_go_to_whom_they_belong():
    async def conversation(client, engine):
        one, two = client.generate(CALL), client.generate(CALL)
        numbers = [(await engine.hear()).number for _ in range(2)]
        assert len(set(numbers)) == 2
        mixed = [piece(numbers[1], "b"), piece(numbers[0], "a"), piece(99, "nobody's")]
        await engine.say(wire.Pieces(mixed), finished(numbers[0]), finished(98), wire.Done(97))
        await engine.say(wire.Pieces([piece(numbers[1], "c")]), finished(numbers[1]))
        assert [each.text async for each in one] == ["a"]
        assert [each.text async for each in two] == ["b", "c"]
        assert (await two.result()) == (await two.result()) == finished(numbers[1])

    talk(conversation)


def test_credit_comes_back_in_batches_for_what_was_taken():
    async def conversation(client, engine):
        generation = client.generate(CALL)
        number = (await engine.hear()).number
        await engine.say(wire.Pieces([piece(number)] * wire.PIECE_CREDIT))
        for _ in range(wire.PIECE_CREDIT // 4 - 1):
            await anext(generation)
        await settled(engine, client)  # nothing was said before this question
        await anext(generation)
        assert await engine.hear() == wire.Credit(number, wire.PIECE_CREDIT // 4)
        result = asyncio.create_task(generation.result())  # drops the rest
        assert (await engine.hear()).pieces == wire.PIECE_CREDIT * 3 // 4
        await engine.say(wire.Pieces([piece(number)] * 64))
        assert await engine.hear() == wire.Credit(number, 64)
        await engine.say(finished(number))
        assert await result == finished(number)

    talk(conversation)


def test_cancelling_tells_the_engine_once_and_late_answers_are_nobodys():
    async def conversation(client, engine):
        generation = client.generate(CALL)
        number = (await engine.hear()).number
        waiting = asyncio.create_task(anext(generation))
        await asyncio.sleep(0)
        generation.cancel()
        generation.cancel()
        with pytest.raises(CancelledError):
            await waiting
        assert await engine.hear() == wire.Cancel(number)
        await engine.say(wire.Pieces([piece(number)]), finished(number))
        await settled(engine, client)
        with pytest.raises(CancelledError):
            await generation.result()
        ended = client.generate(CALL)
        number = (await engine.hear()).number
        await engine.say(finished(number))
        await ended.result()
        ended.cancel()
        await settled(engine, client)
        assert await ended.result() == finished(number)

    talk(conversation)


def test_what_is_dropped_is_cancelled_from_whatever_thread():
    async def conversation(client, engine):
        held = [client.generate(CALL)]
        number = (await engine.hear()).number
        thread = threading.Thread(target=lambda: (held.clear(), gc.collect()))
        thread.start()
        thread.join()
        assert await engine.hear() == wire.Cancel(number)

    talk(conversation)


def test_an_embedding_that_nobody_awaits_is_withdrawn():
    async def conversation(client, engine):
        asking = asyncio.create_task(client.embed("a", "m", ["x"], "mean"))
        number = (await engine.hear()).number
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert await engine.hear() == wire.Cancel(number)
        await engine.say(wire.Embedded(number, 1, b"0000", [1]))
        await settled(engine, client)

    talk(conversation)


def test_an_engine_that_does_not_read_does_not_fill_the_memory(monkeypatch):
    async def conversation(client, engine):
        monkeypatch.setattr("realm.server.front.engine_client._MOST_UNSENT", -1)
        with pytest.raises(EngineUnavailableError, match="any more"):
            client.generate(CALL)
        with pytest.raises(EngineUnavailableError, match="any more"):
            await client.embed("a", "m", ["x"], "mean")
        asking = asyncio.create_task(client.figures())
        await engine.say(wire.Figures((await engine.hear()).number, {}, {}))
        assert (await asking).engine == {}

    talk(conversation)


async def _leaves(engine):
    engine.leave()


async def _answers_with_another_kind(engine):
    await engine.say(wire.Done(1))


NONSENSE = [
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x03\x00\x00\x00abc",
    len(body := msgspec.msgpack.encode(["cancel", 1])).to_bytes(4, "little") + body,
]


@pytest.mark.parametrize(
    "act",
    [_leaves, _answers_with_another_kind]
    + [lambda engine, data=data: engine.send(data) for data in NONSENSE],
    ids=range(6),
)
def test_a_lost_connection_fails_all_that_waits(act):
    async def conversation(client, engine):
        generation = client.generate(CALL)
        number = (await engine.hear()).number
        assert number == 1
        await engine.say(wire.Pieces([piece(number, "before")]))
        waiting = [
            asyncio.create_task(client.figures()),
            asyncio.create_task(client.remove_tenant("a")),
        ]
        await engine.hear()
        await engine.hear()
        await act(engine)
        await client.lost
        assert not client.is_ready
        assert (await anext(generation)).text == "before"
        with pytest.raises(EngineUnavailableError) as found:
            await anext(generation)
        assert found.value.retry_after_seconds > 0
        with pytest.raises(EngineUnavailableError):
            await generation.result()
        for each in waiting:
            with pytest.raises(EngineUnavailableError):
                await each
        with pytest.raises(EngineUnavailableError):
            client.generate(CALL)
        with pytest.raises(EngineUnavailableError):
            await client.figures()

    talk(conversation)


def test_errors_arrive_as_what_they_were():
    async def conversation(client, engine):
        generation = client.generate(CALL)
        number = (await engine.hear()).number
        await engine.say(wire.Failed(number, "RateLimitError", "slow down", 7.0))
        with pytest.raises(RateLimitError, match="slow down") as found:
            await generation.result()
        assert found.value.retry_after_seconds == 7.0
        asking = asyncio.create_task(client.figures())
        await engine.say(wire.Done((await engine.hear()).number))
        with pytest.raises(EngineUnavailableError, match="another kind"):
            await asking

    talk(conversation)
