"""Guest programs: found, compiled, checked against the contract, ready to be instantiated.

Compiling happens on the caller's thread. Nothing here runs a guest.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
from importlib.resources import files
from pathlib import Path

from realm.errors import GuestCompileError, GuestLimitError, NotSupportedError
from realm.runtime import _guest
from realm.runtime.contract import (
    ABI_VERSION,
    HOST_FUNCTIONS,
    check_exports,
    function_numbers,
)
from realm.runtime.limits import GuestLimits, HostLimits

_LIBRARY_NAMES = {"linux": "_libwasmtime.so", "darwin": "_libwasmtime.dylib"}
_MACHINES = {"AMD64": "x86_64", "arm64": "aarch64"}


def wasmtime_library() -> Path:
    """The C library inside the wasmtime wheel. The wheel's own Python bindings stay unloaded.

    Raises NotSupportedError when there is none for this platform.
    """
    spec = importlib.util.find_spec("wasmtime")
    name = _LIBRARY_NAMES.get(sys.platform)
    if spec is None or not spec.submodule_search_locations or name is None:
        raise NotSupportedError(f"no wasmtime library for {sys.platform}")
    machine = _MACHINES.get(platform.machine(), platform.machine())
    path = Path(spec.submodule_search_locations[0], f"{sys.platform}-{machine}", name)
    if not path.is_file():
        raise NotSupportedError(f"no wasmtime library for {sys.platform} on {machine}")
    return path


def default_program() -> bytes:
    """The program that tenants run unless they bring their own (guests/default)."""
    return files("realm.runtime").joinpath("programs", "default.wasm").read_bytes()


class GuestHost:
    """The engine of a runtime: its pool of guests and its clock."""

    def __init__(self, limits: HostLimits | None = None) -> None:
        self.limits = limits if limits is not None else HostLimits()
        self.native = _guest.Host(
            str(wasmtime_library()),
            guest_count=self.limits.guest_count,
            memory_bytes=self.limits.memory_bytes,
            table_elements=self.limits.table_elements,
            stack_bytes=self.limits.stack_bytes,
            tick_microseconds=self.limits.tick_microseconds,
        )

    def compile(self, wasm: bytes) -> GuestProgram:
        """A checked program.

        Raises GuestCompileError, GuestContractError, or GuestLimitError for a module that asks for
        more memory, table elements or bytes of code than a guest may have.
        """
        if len(wasm) > self.limits.program_bytes:
            raise GuestLimitError(
                f"the program has {len(wasm)} bytes, {self.limits.program_bytes} are allowed"
            )
        try:
            native = _guest.Program(self.native, wasm)
        except GuestCompileError as error:
            raise GuestCompileError(" ".join(str(error).split())) from None
        except GuestLimitError as error:
            raise GuestLimitError(" ".join(str(error).split())) from None
        numbers = function_numbers(native.imports)
        check_exports(native.exports, memory_is_64=native.memory_is_64)
        native.link(numbers, [HOST_FUNCTIONS[number].signedness for number in numbers])
        return GuestProgram(native)


class GuestProgram:
    """A compiled program that fits the contract; shared by every guest made from it."""

    def __init__(self, native: _guest.Program) -> None:
        self._native = native

    def start(self, request: bytes, limits: GuestLimits) -> _guest.Guest:
        """A new guest, owned by the calling thread, that will handle this request when polled.

        Raises GuestLimitError when every slot of the pool is taken.
        """
        return _guest.Guest(
            self._native,
            request,
            memory_bytes=limits.memory_bytes,
            slice_ticks=limits.slice_ticks,
            compute_seconds=limits.compute_seconds,
            wall_seconds=limits.wall_seconds,
            abi_version=ABI_VERSION,
        )
