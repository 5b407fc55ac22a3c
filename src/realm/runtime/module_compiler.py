"""Compiles programs of strangers in processes that may die of it.

A worker (`compile_worker`) is a new process, never a fork of this one: it shares no memory and no
lock with it. What it writes is native code; only this process makes a program of that.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

import realm.errors
from realm.errors import GuestCompileError, GuestError, GuestLimitError
from realm.runtime import _guest, compile_worker
from realm.runtime.compile_worker import CODE, HEADER, MODULE, REFUSED

_WALL_FACTOR = 3
_READ_BYTES = 1 << 20
_CODE_FACTOR = 64  # native code is never so many times as large as the largest program


class ModuleCompiler:
    """For any number of threads. Workers are started when they are needed and end when idle.

    host_options: what the engine is made of (`Host` of the native module); code fits engines of
    equal options. native_module: the file of realm.runtime._guest, or of component_native.
    """

    def __init__(
        self,
        host_options: dict[str, str | int],
        *,
        workers: int,
        seconds: float,
        memory_bytes: int,
        program_bytes: int,
        native_module: str = _guest.__file__,
    ) -> None:
        self._arguments = [
            sys.executable,
            "-P",  # the folder of the script is no place to import from
            str(Path(compile_worker.__file__)),
            native_module,
            json.dumps(host_options),
            json.dumps({"cpu_seconds": math.ceil(seconds), "memory_bytes": memory_bytes}),
        ]
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._code_bytes = program_bytes * _CODE_FACTOR
        self._changed = threading.Condition()
        self._idle: list[_Worker] = []
        self._free = workers
        self._is_closed = False

    def compile(self, wasm: bytes) -> bytes:
        """Native code. Raises GuestCompileError, or GuestLimitError for time or memory.

        GuestError, which says nothing of the module, where no process can be started.
        """
        with self._changed:
            while self._free == 0:
                self._changed.wait()
            self._free -= 1
            worker = self._idle.pop() if self._idle else None
        try:
            kind, payload, worker = self._exchange(worker, wasm)
        except BaseException:
            self._give_back(None)
            raise
        self._give_back(worker)
        if kind == CODE:
            return payload
        text = " ".join(payload.decode(errors="replace").split())
        if kind == REFUSED:
            raise GuestCompileError(text)
        raise GuestLimitError(text or self._memory_message())

    def close(self) -> None:
        """Ends the workers that do nothing; those that compile end with their module."""
        with self._changed:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.end()

    def _give_back(self, worker: _Worker | None) -> None:
        with self._changed:
            self._free += 1
            self._changed.notify()
            if worker is not None and not self._is_closed:
                self._idle.append(worker)
                worker = None
        if worker is not None:
            worker.end()

    def _exchange(self, worker: _Worker | None, wasm: bytes) -> tuple[int, bytes, _Worker]:
        if worker is not None and worker.is_alive:
            try:
                return (*worker.exchange(wasm, self._deadline(), self._code_bytes), worker)
            except _WorkerGoneError as gone:
                if gone.code != 0:
                    raise self._refusal(gone.code) from gone.cause
        elif worker is not None:
            worker.end()
        # None was there, or it has gone home.
        worker = _Worker(self._arguments)
        try:
            return (*worker.exchange(wasm, self._deadline(), self._code_bytes), worker)
        except _WorkerGoneError as gone:
            raise self._refusal(gone.code) from gone.cause

    def _deadline(self) -> float:
        return time.monotonic() + self._seconds * _WALL_FACTOR

    def _refusal(self, code: int | None) -> GuestLimitError:
        if code is None or code == -signal.SIGXCPU:
            return GuestLimitError(
                f"the program takes more than {self._seconds:g} seconds to compile"
            )
        if code in (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, -signal.SIGKILL):
            return GuestLimitError(self._memory_message())
        return GuestLimitError(f"the program ended its compiler (exit status {code})")

    def _memory_message(self) -> str:
        return f"the program takes more than {self._memory_bytes} bytes of memory to compile"


class _WorkerGoneError(Exception):
    """The worker has ended; code: its exit status, None when it was late and was ended."""

    def __init__(self, code: int | None) -> None:
        super().__init__()
        self.code = code

    @property
    def cause(self) -> TimeoutError | None:
        """Of a worker that was late by the clock, which may be the machine's doing."""
        return TimeoutError() if self.code is None else None


class _Worker:
    """One process; used by one thread at a time."""

    def __init__(self, arguments: list[str]) -> None:
        """Raises GuestError when the process cannot be started."""
        source = Path(realm.errors.__file__).parents[1]
        try:
            self._process = subprocess.Popen(  # noqa: S603
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": str(source)},
                start_new_session=True,  # Ctrl-C is for the process that it works for
            )
        except OSError as error:
            raise GuestError(f"the compiler cannot be started: {error.strerror}") from error

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def exchange(self, wasm: bytes, deadline: float, code_bytes: int) -> tuple[int, bytes]:
        """Raises _WorkerGoneError; the worker is gone after any error."""
        try:
            self._stdin.write(HEADER.pack(MODULE, len(wasm)) + wasm)
            self._stdin.flush()
            kind, length = HEADER.unpack(self._read(HEADER.size, deadline))
            if length > code_bytes:
                raise GuestLimitError(f"the program compiles to {length} bytes, more than is kept")
            return kind, self._read(length, deadline)
        except BrokenPipeError:
            raise _WorkerGoneError(self.end()) from None
        except BaseException:
            self.end()
            raise

    def end(self) -> int:
        """Its exit status; one that runs is killed."""
        process = self._process
        with contextlib.suppress(BrokenPipeError):  # what was not written went with it
            self._stdin.close()
        self._stdout.close()
        if process.poll() is None:
            process.kill()
        return process.wait()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def _read(self, size: int, deadline: float) -> bytes:
        descriptor = self._stdout.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        parts = bytearray()
        while len(parts) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise _WorkerGoneError(None)
            part = os.read(descriptor, min(size - len(parts), _READ_BYTES))
            if not part:
                raise _WorkerGoneError(self._process.wait())
            parts += part
        return bytes(parts)
