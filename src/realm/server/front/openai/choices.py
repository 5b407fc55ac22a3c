"""Several generations of one request at once: their results, or their pieces as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from realm.server.definitions import Tenant
from realm.server.front.engine_port import GenerateCall
from realm.server.front.served_generation import ServedGeneration
from realm.server.front.services import Services
from realm.server.wire.messages import Finished, Piece

_WAITING_PIECES = 64


@dataclass(frozen=True, slots=True)
class Choices:
    """calls: one for each answer, in the order of their indices."""

    services: Services
    tenant: Tenant
    calls: Sequence[GenerateCall]
    route: str
    request_id: str

    async def results(self) -> list[Finished]:
        """All answers. Raises the first error, and then none of them goes on."""
        if len(self.calls) == 1:
            return [await self._result(self.calls[0])]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._result(call)) for call in self.calls]
        except BaseExceptionGroup as raised:
            raise raised.exceptions[0] from None
        return [task.result() for task in tasks]

    async def pieces(self) -> AsyncGenerator[tuple[int, Piece | Finished], None]:
        """Each answer's pieces and then its end, with its index. Raises the first error."""
        if len(self.calls) == 1:
            async with self._served(self.calls[0]) as generation:
                async for piece in generation:
                    yield 0, piece
                yield 0, await generation.result()
            return
        queue: asyncio.Queue[tuple[int, Piece | Finished] | Exception] = asyncio.Queue(
            _WAITING_PIECES
        )
        tasks = [
            asyncio.create_task(self._pump(index, call, queue))
            for index, call in enumerate(self.calls)
        ]
        try:
            going = len(tasks)
            while going:
                item = await queue.get()
                if isinstance(item, Exception):
                    raise item
                yield item
                going -= isinstance(item[1], Finished)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(
        self,
        index: int,
        call: GenerateCall,
        queue: asyncio.Queue[tuple[int, Piece | Finished] | Exception],
    ) -> None:
        try:
            async with self._served(call) as generation:
                async for piece in generation:
                    await queue.put((index, piece))
                await queue.put((index, await generation.result()))
        except Exception as error:
            await queue.put(error)

    async def _result(self, call: GenerateCall) -> Finished:
        async with self._served(call) as generation:
            return await generation.result()

    def _served(self, call: GenerateCall) -> ServedGeneration:
        return ServedGeneration(
            self.services, self.tenant, call, route=self.route, request_id=self.request_id
        )
