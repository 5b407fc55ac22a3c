"""The front's end of the connection to one engine process.

Questions get numbers; answers find by them who asked. All of it runs on the event loop's thread.
A connection that is lost fails everything that waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar, cast

from realm.errors import EngineUnavailableError, RealmError, RequestError, WireError
from realm.server.definitions import Item, Model, Tenant
from realm.server.front.engine_generation import (
    EngineGeneration,
    GenerationInbox,
    failed_generation,
)
from realm.server.front.engine_port import GenerateCall
from realm.server.wire import messages as wire
from realm.server.wire.failures import error_of
from realm.server.wire.frames import FrameEncoder, FrameSplitter, Message, decode_answer

_LOGGER = logging.getLogger("realm.server.engine")
_MOST_UNSENT = 256 << 20
_READ_BYTES = 256 << 10
T = TypeVar("T")


class EngineClient:
    """An EnginePort over one connection; made by `connect`.

    lost: done once the connection has gone, for whatever reason.
    """

    def __init__(self) -> None:
        """Made by `connect`."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._transport: asyncio.Transport | None = None
        self._encoder = FrameEncoder()
        self._next_number = 1
        self._inboxes: dict[int, GenerationInbox] = {}
        self._questions: dict[int, asyncio.Future[wire.Answer]] = {}
        self._is_configured = False
        self._reason: Callable[[], RealmError] = _lost
        self.lost: asyncio.Future[None] = self._loop.create_future()

    @classmethod
    async def connect(cls, place: Path | socket.socket) -> EngineClient:
        """To the engine process that listens there, or is at the socket's other end.

        Raises OSError where there is none.
        """
        client = cls()
        create = client._loop.create_unix_connection
        if isinstance(place, socket.socket):
            await create(lambda: _Reader(client), sock=place)
        else:
            await create(lambda: _Reader(client), str(place))
        return client

    @property
    def is_ready(self) -> bool:
        """Whether the engine is there and has been told what there is."""
        return self._is_configured and not self.lost.done()

    async def configure(
        self,
        *,
        models: Sequence[Model],
        tenants: Sequence[Tenant],
        adapters: Sequence[Item] = (),
        programs: Sequence[Item] = (),
        drafts: Sequence[Item] = (),
    ) -> None:
        """Tells the engine all that there is; it is ready then. Raises what it could not do."""

        def ask(number: int) -> wire.Configure:
            return wire.Configure(
                number, wire.PROTOCOL_VERSION, list(models), list(tenants), list(adapters),
                list(programs), list(drafts),
            )  # fmt: skip

        await self._ask(ask, wire.Done)
        self._is_configured = True

    def generate(self, call: GenerateCall) -> EngineGeneration:
        """See `EnginePort`."""
        transport = self._require_room()
        number = self._take_number()
        question = wire.Generate(
            number,
            call.tenant_id,
            call.model,
            call.prompt,
            None if call.messages is None else list(call.messages),
            None if call.token_ids is None else list(call.token_ids),
            None if call.adapters is None else [(name, scale) for name, scale in call.adapters],
            call.program,
            call.options,
            call.wants_pieces,
        )
        try:
            frame = self._encoder.encode(question)
        except WireError as error:
            reason = str(error)
            return failed_generation(lambda: RequestError(reason))
        inbox = GenerationInbox(lambda pieces: self._write(wire.Credit(number, pieces)))
        self._inboxes[number] = inbox
        transport.write(frame)
        return EngineGeneration(inbox, lambda: self._cancel(number))

    async def embed(
        self, tenant_id: str, model: str, inputs: Sequence[str | list[int]], pooling: str
    ) -> wire.Embedded:
        """See `EnginePort`."""

        def ask(number: int) -> wire.Embed:
            return wire.Embed(number, tenant_id, model, list(inputs), pooling)

        self._require_room()
        try:
            return await self._ask(ask, wire.Embedded, withdraw=True)
        except WireError as error:
            raise RequestError(str(error)) from None

    async def figures(self, *, of_tenants: bool = True) -> wire.Figures:
        """See `EnginePort`. of_tenants: whether those of tenants are wanted too."""
        return await self._ask(lambda number: wire.AskFigures(number, of_tenants), wire.Figures)

    async def put_tenant(self, tenant: Tenant) -> None:
        """See `EnginePort`."""
        await self._ask(lambda number: wire.PutTenant(number, tenant), wire.Done)

    async def remove_tenant(self, tenant_id: str) -> None:
        """See `EnginePort`."""
        await self._ask(lambda number: wire.RemoveTenant(number, tenant_id), wire.Done)

    async def put_item(self, kind: str, item: Item) -> None:
        """See `EnginePort`."""
        await self._ask(lambda number: wire.PutItem(number, kind, item), wire.Done)

    async def remove_item(self, kind: str, name: str, tenant_id: str | None) -> None:
        """See `EnginePort`."""
        await self._ask(lambda number: wire.RemoveItem(number, kind, name, tenant_id), wire.Done)

    def abort(self, reason: Callable[[], RealmError] | None = None) -> None:
        """Ends the connection at once; what waits fails with what `reason` makes."""
        if self._transport is not None and not self.lost.done():
            if reason is not None:
                self._reason = reason
            self._transport.abort()

    async def close(self) -> None:
        """Ends the connection and returns when it has gone; the engine process ends with it."""
        self.abort()
        await self.lost

    def _take_number(self) -> int:
        number = self._next_number
        self._next_number += 1
        return number

    def _require_transport(self) -> asyncio.Transport:
        if self._transport is None or self.lost.done() or self._transport.is_closing():
            raise self._reason()
        return self._transport

    def _require_room(self) -> asyncio.Transport:
        """For what clients send: an engine that does not read must not fill the memory."""
        transport = self._require_transport()
        if transport.get_write_buffer_size() > _MOST_UNSENT:
            raise EngineUnavailableError("the engine does not take any more requests")
        return transport

    async def _ask(
        self, make: Callable[[int], wire.Question], kind: type[T], *, withdraw: bool = False
    ) -> T:
        """The answer. withdraw: whether the engine is told when nobody waits for it any more."""
        transport = self._require_transport()
        number = self._take_number()
        frame = self._encoder.encode(make(number))
        answer: asyncio.Future[wire.Answer] = self._loop.create_future()
        self._questions[number] = answer
        transport.write(frame)
        try:
            found = await answer
        except asyncio.CancelledError:
            if withdraw:
                self._write(wire.Cancel(number))
            raise
        finally:
            self._questions.pop(number, None)
        if isinstance(found, kind):
            return found
        if isinstance(found, wire.Failed):
            raise error_of(found)
        self.abort()
        raise EngineUnavailableError("the engine gave an answer of another kind")

    def _write(self, message: Message) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._encoder.encode(message))

    def _cancel(self, number: int) -> None:
        if threading.get_ident() == self._thread:
            self._withdraw(number)
        else:  # dropped by the collector, which runs on any thread
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._withdraw, number)

    def _withdraw(self, number: int) -> None:
        if self._inboxes.pop(number, None) is not None and not self._loop.is_closed():
            self._write(wire.Cancel(number))

    # The reader's side

    def _made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def _received(self, frames: Sequence[bytes]) -> None:
        for frame in frames:
            answer = decode_answer(frame)
            if isinstance(answer, wire.Pieces):
                for piece in answer.pieces:
                    inbox = self._inboxes.get(piece.number)
                    if inbox is not None:
                        inbox.put(piece)
            else:
                self._answered(answer)

    def _answered(
        self, answer: wire.Finished | wire.Failed | wire.Embedded | wire.Done | wire.Figures
    ) -> None:
        question = self._questions.get(answer.number)
        if question is not None:
            if not question.done():
                question.set_result(answer)
            return
        inbox = self._inboxes.get(answer.number)
        if inbox is None:
            return  # nobody waits for it any more
        if isinstance(answer, wire.Finished):
            inbox.finish(answer)
        elif isinstance(answer, wire.Failed):
            failed = answer
            inbox.fail(lambda: error_of(failed))
        else:
            raise WireError("a generation was answered with something else")
        del self._inboxes[answer.number]

    def _gone(self) -> None:
        if self.lost.done():
            return
        self.lost.set_result(None)
        inboxes, self._inboxes = self._inboxes, {}
        for inbox in inboxes.values():
            inbox.fail(self._reason)
        for question in list(self._questions.values()):
            if not question.done():
                question.set_exception(self._reason())


def _lost() -> RealmError:
    return EngineUnavailableError("the engine was lost")


class _Reader(asyncio.BufferedProtocol):
    """Reads into one buffer; the client hears of whole frames."""

    def __init__(self, client: EngineClient) -> None:
        self._client = client
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._splitter = FrameSplitter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._client._made(cast("asyncio.Transport", transport))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        try:
            self._client._received(self._splitter.feed(self._buffer[:nbytes]))
        except WireError as error:
            _LOGGER.error("the engine process is not understood: %s", error)
            self._client.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._client._gone()
