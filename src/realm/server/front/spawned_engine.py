"""One engine process that was started here, and the connection to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from realm.errors import EngineUnavailableError
from realm.server.front.engine_client import EngineClient

COMMAND = (sys.executable, "-P", "-m", "realm.server.engine_process")
"""Without the working directory among the places where modules are looked for."""

_LOOK_SECONDS = 0.02


class SpawnedEngine:
    """For the event loop's thread; made by `spawn`. client: not yet configured."""

    def __init__(self, process: asyncio.subprocess.Process, client: EngineClient) -> None:
        """Made by `spawn`."""
        self.client = client
        self._process = process

    @classmethod
    async def spawn(
        cls, command: Sequence[str], socket_path: Path, patience_seconds: float
    ) -> SpawnedEngine:
        """A process that listens, and the connection. Raises EngineUnavailableError.

        patience_seconds: until it listens.
        """
        try:
            # A session of its own: what a terminal sends to the server is the server's to pass on.
            process = await asyncio.create_subprocess_exec(
                *command,
                "--socket",
                str(socket_path),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise EngineUnavailableError(f"the engine cannot be started: {error}") from error
        try:
            async with asyncio.timeout(patience_seconds):
                client = await _connect(process, socket_path)
        except BaseException as error:
            await _kill(process)
            if isinstance(error, TimeoutError):
                text = f"the engine did not listen within {patience_seconds:g} seconds"
                raise EngineUnavailableError(text) from None
            raise
        return cls(process, client)

    @property
    def process_id(self) -> int:
        """Of the engine process."""
        return self._process.pid

    def terminate(self) -> None:
        """Asks it to end what runs, and then itself."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    async def ended(self) -> int:
        """Its exit status, once it has ended."""
        return await self._process.wait()

    async def kill(self) -> int:
        """Ends it and all that it started; its exit status."""
        self.client.abort()
        return await _kill(self._process)


async def _connect(process: asyncio.subprocess.Process, path: Path) -> EngineClient:
    while process.returncode is None:
        try:
            return await EngineClient.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):
            await asyncio.sleep(_LOOK_SECONDS)
        except OSError as error:
            raise EngineUnavailableError(f"the engine cannot be reached: {error}") from error
    text = f"the engine ended with status {process.returncode} at its start; its log says why"
    raise EngineUnavailableError(text)


async def _kill(process: asyncio.subprocess.Process) -> int:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    return await process.wait()
