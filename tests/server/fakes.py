"""An engine for tests of the front: it says a given text word by word, and remembers its calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import numpy as np

from realm.errors import CancelledError, EngineUnavailableError, RealmError
from realm.server.definitions import Item, Tenant
from realm.server.front.engine_port import GenerateCall
from realm.server.wire.messages import Embedded, Figures, Finished, Piece, TokenLogprob


class FakeGeneration:
    """gate: with one, a piece comes each time that it is released."""

    def __init__(self, call: GenerateCall, engine: FakeEngine) -> None:
        self.call = call
        self.is_cancelled = False
        self._engine = engine
        words = engine.text.split(" ")
        self._words = words[: call.options.get("max_tokens", len(words))]
        self._pieces = [
            word if place == 0 else f" {word}" for place, word in enumerate(self._words)
        ]
        self._taken = 0

    async def __aiter__(self) -> AsyncIterator[Piece]:
        if not self.call.wants_pieces:
            return
        while self._taken < len(self._pieces):
            await self._before_piece()
            place = self._taken
            self._taken += 1
            yield Piece(0, self._pieces[place], [place], self._logprobs(place, place + 1))

    async def result(self) -> Finished:
        while self._taken < len(self._pieces):
            await self._before_piece()
            self._taken += 1
        count = len(self._pieces)
        reason = "length" if count < len(self._engine.text.split(" ")) else "stop"
        seconds = {"total_seconds": 0.5, "first_token_seconds": 0.1}
        return Finished(
            0, "".join(self._pieces), list(range(count)), 7, reason, seconds, None,
            self._logprobs(0, count),
        )  # fmt: skip

    def cancel(self) -> None:
        self.is_cancelled = True

    async def _before_piece(self) -> None:
        if self._engine.gate is not None:
            await self._engine.gate.acquire()
        else:
            await asyncio.sleep(0)
        if self.is_cancelled:
            raise CancelledError("the request was cancelled")
        if self._engine.error is not None and self._taken == self._engine.error_after:
            raise self._engine.error

    def _logprobs(self, first: int, end: int) -> list[TokenLogprob] | None:
        count = self.call.options.get("logprobs")
        if count is None:
            return None
        found = []
        for place in range(first, end):
            data = self._pieces[place].encode()
            top = [(place + each, data, -0.5 - each) for each in range(count)]
            found.append(TokenLogprob(place, data, -0.5, top))
        return found


class FakeEngine:
    """See `realm.server.front.engine_port.EnginePort`. error: what generations end in, after
    error_after pieces. gate: see FakeGeneration."""

    def __init__(self, text: str = "The capital of France is Paris.") -> None:
        self.text = text
        self.error: RealmError | None = None
        self.error_after = 0
        self.gate: asyncio.Semaphore | None = None
        self.is_ready = True
        self.generations: list[FakeGeneration] = []
        self.told: list[tuple[object, ...]] = []

    def generate(self, call: GenerateCall) -> FakeGeneration:
        if not self.is_ready:
            raise EngineUnavailableError("the engine is starting", 2.0)
        self.generations.append(FakeGeneration(call, self))
        return self.generations[-1]

    async def embed(
        self, tenant_id: str, model: str, inputs: Sequence[str | list[int]], pooling: str
    ) -> Embedded:
        vectors = np.eye(len(inputs), 4, dtype=np.float32)
        return Embedded(0, 4, vectors.tobytes(), [len(each) for each in inputs])

    async def figures(self) -> Figures:
        return Figures(0, {}, {})

    async def put_tenant(self, tenant: Tenant) -> None:
        self.told.append(("put_tenant", tenant))

    async def remove_tenant(self, tenant_id: str) -> None:
        self.told.append(("remove_tenant", tenant_id))

    async def put_item(self, kind: str, item: Item) -> None:
        if self.error is not None:
            raise self.error
        self.told.append(("put_item", kind, item))

    async def remove_item(self, kind: str, name: str, tenant_id: str | None) -> None:
        self.told.append(("remove_item", kind, name, tenant_id))
