"""The process that compiles programs of strangers, within a limit of time and one of memory.

`realm.runtime.module_compiler` starts it as a script. It reads modules from its input and writes
native code, or why there is none, to its output, until its input ends or nothing came for a while.
A module that takes too much kills it. It opens no file, and imports no other part of Realm but the
errors, so that it stands in milliseconds.

On the wire, both ways: one byte of kind, eight of length, then so many bytes.
"""

from __future__ import annotations

import json
import math
import os
import resource
import select
import struct
import sys
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

HEADER = struct.Struct("<BQ")
MODULE, CODE, REFUSED, TOO_LARGE = range(4)
_IDLE_SECONDS = 30.0
_NICENESS = 10
# How the compiler and the allocator say that an allocation failed.
_OUT_OF_MEMORY = ("Cannot allocate memory", "out of memory", "memory allocation")


def main(guest_module: str, host_options: str, compile_options: str) -> int:
    """guest_module: the file of realm.runtime._guest, or of component_native. The options are JSON
    objects: what its `Host` takes, and cpu_seconds, memory_bytes."""
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    guest = _load(guest_module)
    host = guest.Host(**json.loads(host_options))
    limits = json.loads(compile_options)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while (wasm := _next_module(source)) is not None:
        _limit_process(limits["cpu_seconds"], limits["memory_bytes"])
        kind, payload = _compile(guest, host, wasm)
        sink.write(HEADER.pack(kind, len(payload)) + payload)
        sink.flush()
    return 0


def _load(path: str) -> ModuleType:
    """The native module, without the package around it."""
    name = f"realm.runtime.{Path(path).stem.partition('.')[0]}"
    kind = SourceFileLoader if path.endswith(".py") else ExtensionFileLoader
    spec = spec_from_file_location(name, path, loader=kind(name, path))
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a module")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _next_module(source: BinaryIO) -> bytes | None:
    poll = select.poll()
    poll.register(source, select.POLLIN)
    if not poll.poll(_IDLE_SECONDS * 1000):
        return None
    header = source.read(HEADER.size)
    if len(header) < HEADER.size:
        return None
    wasm = source.read(HEADER.unpack(header)[1])
    return wasm if len(wasm) == HEADER.unpack(header)[1] else None


def _limit_process(cpu_seconds: int, memory_bytes: int) -> None:
    """From now on: so much more processor time, and so much more address space."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = math.ceil(usage.ru_utime + usage.ru_stime)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used + cpu_seconds, hard))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory_bytes, hard))


def _compile(guest: Any, host: Any, wasm: bytes) -> tuple[int, bytes]:
    try:
        return CODE, guest.Program(host, wasm).serialize()
    except MemoryError:
        return TOO_LARGE, b""
    except Exception as error:
        text = str(error)
        too_large = type(error).__name__ == "GuestLimitError" or any(
            sign in text for sign in _OUT_OF_MEMORY
        )
        return TOO_LARGE if too_large else REFUSED, text.encode(errors="replace")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
