"""The engine process, whichever it is now: started, told what there is, watched, replaced.

While there is none, requests are refused at once with a time to come back. What changes meanwhile
is part of what the next one is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from realm.errors import EngineUnavailableError, RealmError
from realm.server.definitions import Item, Model, Tenant
from realm.server.front.engine_client import EngineClient
from realm.server.front.spawned_engine import COMMAND, SpawnedEngine

if TYPE_CHECKING:
    from realm.server.front.engine_generation import EngineGeneration
    from realm.server.front.engine_port import GenerateCall
    from realm.server.settings import Settings
    from realm.server.wire.messages import Embedded, Figures

_LOGGER = logging.getLogger("realm.server.engine")
_LONGEST_DELAY = 10.0
_LOST = "the engine was lost"
_SHUTTING_DOWN = "the server is shutting down"
_LOOK_SECONDS = 0.02
_LONGEST_DIRECTORY = 80  # characters; a socket's path has 107 at most


@dataclass(frozen=True, slots=True)
class EngineConfiguration:
    """All that an engine process is to know."""

    models: Sequence[Model]
    tenants: Sequence[Tenant]
    adapters: Sequence[Item] = ()
    programs: Sequence[Item] = ()
    drafts: Sequence[Item] = ()


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. listen: until a new process listens. look: between two looks at the engine.
    answer: until one that does not answer counts as hung. first_delay: before a lost one is
    replaced, doubled each time until one has lived for settled.
    """

    listen: float = 60.0
    look: float = 2.0
    answer: float = 20.0
    first_delay: float = 0.05
    settled: float = 30.0


def engine_arguments(settings: Settings) -> list[str]:
    """What the server's settings mean to the engine process."""
    return [
        *("--state", str(settings.data_directory / "engine.db")),
        *("--threads", str(settings.threads)),
        *("--cache-bytes", str(settings.cache_bytes)),
        *("--cache-precision", settings.cache_precision),
        *("--adapter-bytes", str(settings.adapter_bytes)),
        *("--context-length", str(settings.context_length)),
        *("--draft-k", str(settings.draft_k)),
        *("--log-level", settings.log_level),
        *("--log-format", settings.log_format),
    ]


class EngineSupervisor:
    """An EnginePort, for the event loop's thread. Use: `start`, then requests, then `close`.

    configuration: what there is now; called for every new process, and may raise a RealmError.
    arguments: of the process, beside its socket.
    """

    def __init__(
        self,
        configuration: Callable[[], EngineConfiguration],
        arguments: Sequence[str] = (),
        *,
        command: Sequence[str] = COMMAND,
        patience: Patience | None = None,
    ) -> None:
        self._configuration = configuration
        self._command = (*command, *arguments)
        self._patience = patience if patience is not None else Patience()
        self._engine: SpawnedEngine | None = None
        self._is_ending = False
        self._task: asyncio.Task[None] | None = None
        self._opening: asyncio.Future[None] | None = None
        self._directory: Path | None = None
        self._starts = 0
        self._start_seconds = 1.0

    @property
    def is_ready(self) -> bool:
        """See `EnginePort`."""
        engine = self._engine
        return engine is not None and engine.client.is_ready and not self._is_ending

    @property
    def process_id(self) -> int | None:
        """Of the engine process that there is now."""
        return None if self._engine is None else self._engine.process_id

    async def start(self) -> None:
        """Returns when the first process is ready. Raises what keeps it from that."""
        self._directory = _socket_directory()
        try:
            engine = await self._open()
        except BaseException:
            await self.close()
            raise
        self._task = asyncio.create_task(self._keep(engine))

    async def wait_until_ready(self) -> None:
        """Returns when there is an engine that is. Raises EngineUnavailableError when none comes
        any more."""
        while not self.is_ready:
            if self._is_ending:
                raise EngineUnavailableError(_SHUTTING_DOWN, 5.0)
            await asyncio.sleep(_LOOK_SECONDS)

    async def drain(self, timeout_seconds: float) -> None:
        """Refuses what is new, and returns when all that runs has ended, or the time has."""
        self._is_ending = True
        engine = self._engine
        if engine is not None:
            engine.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(engine.ended(), timeout_seconds)

    async def close(self) -> None:
        """Ends the process with whatever runs in it. Safe to repeat."""
        self._is_ending = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.kill()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def generate(self, call: GenerateCall) -> EngineGeneration:
        """See `EnginePort`."""
        return self._client().generate(call)

    async def embed(
        self, tenant_id: str, model: str, inputs: Sequence[str | list[int]], pooling: str
    ) -> Embedded:
        """See `EnginePort`."""
        return await self._client().embed(tenant_id, model, inputs, pooling)

    async def figures(self) -> Figures:
        """See `EnginePort`."""
        return await self._client().figures()

    async def put_tenant(self, tenant: Tenant) -> None:
        """See `EnginePort`; where there is no engine, the next one is told."""
        await self._change(lambda client: client.put_tenant(tenant))

    async def remove_tenant(self, tenant_id: str) -> None:
        """See `EnginePort`; where there is no engine, the next one is told."""
        await self._change(lambda client: client.remove_tenant(tenant_id))

    async def put_item(self, kind: str, item: Item) -> None:
        """See `EnginePort`. EngineUnavailableError where there is no engine to say what it is."""
        if self._opening is not None:
            await asyncio.wait([self._opening])
        await self._client().put_item(kind, item)

    async def remove_item(self, kind: str, name: str, tenant_id: str | None) -> None:
        """See `EnginePort`; where there is no engine, the next one is told."""
        await self._change(lambda client: client.remove_item(kind, name, tenant_id))

    def _client(self) -> EngineClient:
        if self._is_ending:
            raise EngineUnavailableError(_SHUTTING_DOWN, 5.0)
        if self._engine is None or not self._engine.client.is_ready:
            raise EngineUnavailableError("the engine is starting", max(1.0, self._start_seconds))
        return self._engine.client

    async def _change(self, tell: Callable[[EngineClient], Awaitable[None]]) -> None:
        """Tells the engine; one that is being told all now, after that."""
        if self._opening is not None:
            await asyncio.wait([self._opening])
        if not self.is_ready:
            return
        with contextlib.suppress(EngineUnavailableError):  # lost meanwhile
            await tell(self._client())

    async def _open(self) -> SpawnedEngine:
        """A process that is ready. Raises RealmError."""
        assert self._directory is not None
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._starts += 1
        path = self._directory / f"{self._starts}.sock"
        opening = self._opening = loop.create_future()
        engine: SpawnedEngine | None = None
        try:
            engine = await SpawnedEngine.spawn(self._command, path, self._patience.listen)
            told = self._configuration()
            await engine.client.configure(
                models=told.models,
                tenants=told.tenants,
                adapters=told.adapters,
                programs=told.programs,
                drafts=told.drafts,
            )
            self._engine = engine
        except BaseException:
            if engine is not None:
                await engine.kill()
            raise
        finally:
            self._opening = None
            opening.set_result(None)
        self._start_seconds = loop.time() - began
        _LOGGER.info(
            "the engine is ready",
            extra={"process_id": engine.process_id, "seconds": round(self._start_seconds, 3)},
        )
        return engine

    async def _keep(self, first: SpawnedEngine) -> None:
        """Watches the engine and replaces it for as long as the server lives."""
        loop = asyncio.get_running_loop()
        engine: SpawnedEngine | None = first
        delay = self._patience.first_delay
        while True:
            began = loop.time()
            if engine is not None:
                reason = await self._watch(engine)
                self._engine = None
                status = await engine.kill()
                if self._is_ending:
                    return
                _LOGGER.error(_LOST, extra={"reason": reason, "status": status})
            if loop.time() - began >= self._patience.settled:
                delay = self._patience.first_delay
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)
            engine = None
            try:
                engine = await self._open()
            except RealmError as error:
                _LOGGER.error("the engine cannot be replaced yet: %s", error)
            except Exception:
                _LOGGER.exception("the engine could not be replaced")

    async def _watch(self, engine: SpawnedEngine) -> str:
        """Returns when the engine has gone or is hung: why."""
        client, patience = engine.client, self._patience
        while True:
            await asyncio.wait([client.lost], timeout=patience.look)
            if client.lost.done():
                return "its connection ended"
            try:
                # Not wait_for, which forgets a cancellation that comes with the answer.
                async with asyncio.timeout(patience.answer):
                    await client.figures(of_tenants=False)
            except TimeoutError:
                client.abort(_hung)
                return f"no answer within {patience.answer:g} seconds"
            except RealmError as error:
                client.abort(_hung)
                return f"it answered with {type(error).__name__}"


def _socket_directory() -> Path:
    """A new folder that is this user's alone, with a name short enough for a socket in it."""
    usual = Path(tempfile.mkdtemp(prefix="realm-engine-"))
    if len(str(usual)) <= _LONGEST_DIRECTORY:
        return usual
    usual.rmdir()
    return Path(tempfile.mkdtemp(prefix="realm-engine-", dir="/tmp"))


def _hung() -> RealmError:
    return EngineUnavailableError(_LOST)
