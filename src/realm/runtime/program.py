"""Guest programs: found, compiled, checked against the contract, ready to be instantiated.

The caller's thread waits for the compiler. Nothing here runs a guest.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import platform
import sys
import threading
import time
import weakref
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from realm.errors import (
    GuestCompileError,
    GuestContractError,
    GuestLimitError,
    NotSupportedError,
    RealmError,
)
from realm.runtime import _guest
from realm.runtime.component_contract import is_component
from realm.runtime.contract import (
    ABI_VERSION,
    HOST_FUNCTIONS,
    check_exports,
    function_numbers,
)
from realm.runtime.limits import GuestLimits, HostLimits

if TYPE_CHECKING:
    from realm.runtime.component_guest import ComponentGuest
    from realm.runtime.component_native import Program as ComponentCode
    from realm.runtime.component_tier import ComponentTier
    from realm.runtime.module_cache import ModuleCache
    from realm.runtime.module_compiler import ModuleCompiler

_REFUSED_SECONDS = 60.0
_REFUSED_COUNT = 256
_CACHE_VERSION = 1  # of what the native layer asks of the engine
# Calls that may be answered on the guest's own stack; all others park it.
_ANSWERED_AS = {
    "realm_decode_tokens": _guest.DECODES_TOKENS,
    "realm_stream_token": _guest.STREAMS_TOKEN,
}
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
    """The engine of a runtime: its pool of guests and its clock.

    cache: where compiled programs are kept between processes; nowhere when left out. now: seconds,
    monotonic.
    """

    def __init__(
        self,
        limits: HostLimits | None = None,
        *,
        cache: ModuleCache | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits if limits is not None else HostLimits()
        self._cache = cache
        self._options: dict[str, str | int] = {
            "library_path": str(wasmtime_library()),
            "guest_count": self.limits.guest_count,
            "memory_bytes": self.limits.memory_bytes,
            "table_elements": self.limits.table_elements,
            "stack_bytes": self.limits.stack_bytes,
            "tick_microseconds": self.limits.tick_microseconds,
        }
        self.native = _guest.Host(**self._options)  # type: ignore[arg-type]
        self._compiler: ModuleCompiler | None = None
        self._components: ComponentTier | None = None
        self._lock = threading.Lock()
        self._now = now
        self._refused: dict[str, tuple[float, RealmError]] = {}
        self._programs: weakref.WeakValueDictionary[str, GuestProgram] = (
            weakref.WeakValueDictionary()
        )

    def compile(self, wasm: bytes) -> GuestProgram:
        """A checked program; equal modules share one. Compiling happens in another process.

        Raises GuestCompileError, GuestContractError, or GuestLimitError for a module that asks for
        more memory, table elements or bytes of code than a guest may have, or that takes too much
        time or memory to compile, or for a component where none are allowed. What was refused is
        refused again for a while without another look. GuestError where no process can be started.
        """
        name = self._cache_name(wasm)
        with self._lock:
            known = self._programs.get(name)
            until, refusal = self._refused.get(name, (0.0, None))
        if known is not None:
            return known
        if refusal is not None and self._now() < until:
            raise type(refusal)(*refusal.args)
        try:
            return self._compile(name, wasm)
        except (GuestCompileError, GuestContractError, GuestLimitError) as error:
            if isinstance(error.__cause__, TimeoutError):
                raise  # late by the clock: another time the machine may be less busy
            with self._lock:
                self._refused.pop(name, None)
                # Another object: the one that is raised collects frames, and they their programs.
                refusal = type(error)(*error.args)
                self._refused[name] = (self._now() + _REFUSED_SECONDS, refusal)
                if len(self._refused) > _REFUSED_COUNT:
                    del self._refused[next(iter(self._refused))]
            raise

    def _compile(self, name: str, wasm: bytes) -> GuestProgram:
        if is_component(wasm):
            tier = self.component_tier()
            component = ComponentProgram(tier.compile(wasm), tier)
            with self._lock:
                return self._programs.setdefault(name, component)
        native, is_new = self._load(name, wasm)
        numbers = function_numbers(native.imports)
        is_older = check_exports(native.exports, memory_is_64=native.memory_is_64)
        functions = [HOST_FUNCTIONS[number] for number in numbers]
        native.link(
            numbers,
            [function.signedness for function in functions],
            [_ANSWERED_AS.get(function.name, _guest.PARKS) for function in functions],
        )
        if is_new and self._cache is not None:
            self._cache.store(name, native.serialize())
        with self._lock:
            return self._programs.setdefault(name, GuestProgram(native, is_older))

    def inspect(self, wasm: bytes) -> _guest.Program:
        """The module as it declares itself, whether it fits the contract or not.

        Raises GuestCompileError, or GuestLimitError as `compile` does.
        """
        return self._load(self._cache_name(wasm), wasm)[0]

    def component_tier(self) -> ComponentTier:
        """Where components run. Raises GuestLimitError when HostLimits allows none."""
        if self.limits.components == 0:
            raise GuestLimitError("components are not offered: HostLimits.components is 0")
        # Costs a library's load, which hosts without components need not pay.
        from realm.runtime.component_tier import ComponentTier  # noqa: PLC0415

        with self._lock:
            if self._components is None:
                path = str(self._options["library_path"])
                self._components = ComponentTier(path, self.limits, self._cache)
            return self._components

    def _load(self, name: str, wasm: bytes) -> tuple[_guest.Program, bool]:
        """The program, and whether it had to be compiled."""
        if len(wasm) > self.limits.program_bytes:
            raise GuestLimitError(
                f"the program has {len(wasm)} bytes, {self.limits.program_bytes} are allowed"
            )
        code = self._cache.load(name) if self._cache is not None else None
        if code is not None:
            try:
                return _guest.Program.deserialize(self.native, code), False
            except (GuestCompileError, GuestLimitError):
                pass  # of another machine, or of a pool with other bounds: as if it were not there
        try:
            if wasm == default_program():  # ours: no process need be risked for it
                return _guest.Program(self.native, wasm), True
            code = self._module_compiler().compile(wasm)
            return _guest.Program.deserialize(self.native, code), True
        except GuestCompileError as error:
            raise GuestCompileError(" ".join(str(error).split())) from None
        except GuestLimitError as error:
            raise GuestLimitError(" ".join(str(error).split())) from error.__cause__

    def _module_compiler(self) -> ModuleCompiler:
        # Costs milliseconds to import, which a start with a cached program need not pay.
        from realm.runtime.module_compiler import ModuleCompiler  # noqa: PLC0415

        with self._lock:
            if self._compiler is None:
                self._compiler = ModuleCompiler(
                    {**self._options, "guest_count": 1},
                    workers=self.limits.compile_workers,
                    seconds=self.limits.compile_seconds,
                    memory_bytes=self.limits.compile_memory_bytes,
                    program_bytes=self.limits.program_bytes,
                )
                weakref.finalize(self, self._compiler.close)
            return self._compiler

    def _cache_name(self, wasm: bytes) -> str:
        """Equal for the same program on an engine of the same kind."""
        library = Path(str(self._options["library_path"])).stat()
        engine = {**self._options, "guest_count": 0, "pooled": self.native.pooled}
        identity = [_CACHE_VERSION, engine, library.st_size, library.st_mtime_ns]
        name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
        name.update(hashlib.sha256(wasm).digest())
        return name.hexdigest()


class GuestProgram:
    """A compiled program that fits the contract; shared by every guest made from it."""

    def __init__(self, native: _guest.Program, is_older: bool) -> None:
        self._native = native
        self.is_older = is_older

    def start(
        self,
        request: bytes,
        limits: GuestLimits,
        older_form: tuple[int, int, int, int] | None = None,
        wake: Callable[[], None] = lambda: None,  # noqa: ARG002 (of a guest that the loop polls)
    ) -> _guest.Guest | ComponentGuest:
        """A new guest, owned by the calling thread, that will handle this request when polled.

        older_form: for a program that `is_older`: the prompt's bytes, the options' offset, the
        model's handle, and how much text it may give. wake: what a guest with a thread of its own
        calls when it waits. Raises GuestLimitError when every slot of the pool is taken.
        """
        return _guest.Guest(
            self._native,
            request,
            memory_bytes=limits.memory_bytes,
            slice_ticks=limits.slice_ticks,
            compute_seconds=limits.compute_seconds,
            wall_seconds=limits.wall_seconds,
            abi_version=ABI_VERSION,
            older_form=older_form,
        )


class ComponentProgram(GuestProgram):
    """A compiled component that fits the world."""

    def __init__(self, code: ComponentCode, tier: ComponentTier) -> None:
        self._code = code
        self._tier = tier
        self.is_older = False

    def start(
        self,
        request: bytes,
        limits: GuestLimits,
        older_form: tuple[int, int, int, int] | None = None,
        wake: Callable[[], None] = lambda: None,
    ) -> ComponentGuest:
        """A new guest on a thread of its own, as soon as one is free."""
        assert older_form is None
        return self._tier.start(self._code, request, limits, wake)
