"""Components: their engine, their linker, and at most so many of them on threads at once.

A tier of its own beside the pool of modules: it takes nothing of that pool and is off unless the
operator says how many components may run. Further ones wait for a thread; their wall time runs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from ctypes import byref, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.errors import GuestCompileError, GuestLimitError, NativeError
from realm.runtime import component_native
from realm.runtime.component_contract import (
    COMPONENT_FUNCTIONS,
    HANDLE_NAME,
    HOST_INSTANCE,
    check_component,
)
from realm.runtime.component_guest import ComponentGuest
from realm.runtime.module_compiler import ModuleCompiler

if TYPE_CHECKING:
    from realm.runtime.limits import GuestLimits, HostLimits
    from realm.runtime.module_cache import ModuleCache

_LOGGER = logging.getLogger(__name__)
_CACHE_VERSION = 1  # of what component_native asks of the engine
_STACK_BYTES = 1 << 20  # an interpreter's own frames are deep
_TICK_SECONDS = 0.01
_JOIN_SECONDS = 5.0
_FAULT = b"a fault of the host"
_CONTINUE = 0


class ComponentTier:
    """For any number of threads. Raises NotSupportedError where there is no library."""

    def __init__(self, library_path: str, limits: HostLimits, cache: ModuleCache | None) -> None:
        self._limits = limits
        self._cache = cache
        self._options: dict[str, str | int] = {
            "library_path": library_path,
            "memory_bytes": limits.memory_bytes,
            "stack_bytes": _STACK_BYTES,
        }
        self.host = component_native.Host(
            library_path, memory_bytes=limits.memory_bytes, stack_bytes=_STACK_BYTES
        )
        self.api = self.host.api
        self.engine = self.host.engine
        self.table_elements = limits.table_elements
        self.handle_name = HANDLE_NAME.encode()
        self._here = threading.local()
        self._callback = _host_callback(self.api, self._here)
        self.linker = self._link()
        self._changed = threading.Condition()
        self._alive: dict[ComponentGuest, threading.Thread] = {}
        self._waiting: deque[ComponentGuest] = deque()
        self._compiler: ModuleCompiler | None = None
        # Native code must not be on a thread when the interpreter ends.
        weakref.finalize(self, _end_all, self._changed, self._alive, self._waiting)

    def __del__(self) -> None:
        if getattr(self, "linker", None):
            self.api.component_linker_delete(self.linker)

    def compile(self, wasm: bytes) -> component_native.Program:
        """A component that fits the contract, compiled in another process or read from the cache.

        Raises GuestCompileError, GuestContractError, or GuestLimitError for one that is too large,
        or takes too much time or memory to compile.
        """
        name = self._cache_name(wasm)
        native, is_new = self._load(name, wasm)
        check_component(*native.declarations())
        if is_new and self._cache is not None:
            self._cache.store(name, native.serialize())
        return native

    def inspect(self, wasm: bytes) -> component_native.Program:
        """The component as it declares itself. Raises as `compile` does, but for the contract."""
        return self._load(self._cache_name(wasm), wasm)[0]

    def start(
        self,
        program: component_native.Program,
        request: bytes,
        limits: GuestLimits,
        wake: Callable[[], None],
    ) -> ComponentGuest:
        """A new guest, which begins when a thread is free."""
        guest = ComponentGuest(self, program, request, limits, wake)
        with self._changed:
            self._waiting.append(guest)
            self._start_waiting()
        return guest

    def deadline_callback(self, check: Callable[[], bytes | None]) -> Any:
        """For a store: `check` says at each tick why its guest must end, or None."""
        api = self.api

        def on_deadline(_context: int, _data: int, delta: Any, kind: Any) -> int:
            try:
                reason = check()
            except BaseException:
                _LOGGER.exception("a component's deadline could not be checked")
                reason = _FAULT
            if reason is not None:
                return int(api.error_new(reason))
            delta[0], kind[0] = 1, _CONTINUE
            return 0

        return component_native.OnDeadline(on_deadline)

    def _load(self, name: str, wasm: bytes) -> tuple[component_native.Program, bool]:
        """The component, and whether it had to be compiled."""
        limit = self._limits.component_bytes
        if len(wasm) > limit:
            raise GuestLimitError(f"the component has {len(wasm)} bytes, {limit} are allowed")
        code = self._cache.load(name) if self._cache is not None else None
        if code is not None:
            try:
                return component_native.Program.deserialize(self.host, code), False
            except GuestCompileError:
                pass  # of another machine: as if it were not there
        try:
            code = self._module_compiler().compile(wasm)
            return component_native.Program.deserialize(self.host, code), True
        except GuestCompileError as error:
            raise GuestCompileError(" ".join(str(error).split())) from None

    def _module_compiler(self) -> ModuleCompiler:
        with self._changed:
            if self._compiler is None:
                self._compiler = ModuleCompiler(
                    self._options,
                    workers=1,
                    seconds=self._limits.component_compile_seconds,
                    memory_bytes=self._limits.component_compile_memory_bytes,
                    program_bytes=self._limits.component_bytes,
                    native_module=component_native.__file__,
                )
                weakref.finalize(self, self._compiler.close)
            return self._compiler

    def _cache_name(self, wasm: bytes) -> str:
        """Equal for the same component on an engine of the same kind."""
        library = Path(str(self._options["library_path"])).stat()
        identity = ["component", _CACHE_VERSION, self._options]
        identity += [library.st_size, library.st_mtime_ns]
        name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode())
        name.update(hashlib.sha256(wasm).digest())
        return name.hexdigest()

    def _link(self) -> int:
        """The world's functions for all guests: which of them calls, its thread knows."""
        api = self.api
        linker = int(api.component_linker_new(self.engine))
        root = api.component_linker_root(linker)
        name, instance = HOST_INSTANCE.encode(), c_void_p()
        try:
            self._require(
                api.component_linker_instance_add_instance(root, name, len(name), byref(instance))
            )
            for number, function in enumerate(COMPONENT_FUNCTIONS):
                name = function.name.encode()
                self._require(
                    api.component_linker_instance_add_func(
                        instance, name, len(name), self._callback, number, None
                    )
                )
        finally:
            if instance:
                api.component_linker_instance_delete(instance)
            api.component_linker_instance_delete(root)
        return linker

    def _require(self, error: int | None) -> None:
        if error:
            raise NativeError(self.api.take_message(error))

    def _start_waiting(self) -> None:
        """Gives free threads to those that wait; the lock is held."""
        while self._waiting and len(self._alive) < self._limits.components:
            guest = self._waiting.popleft()
            thread = threading.Thread(
                target=self._main, args=(guest,), name="realm-component", daemon=True
            )
            if not self._alive:
                threading.Thread(target=self._tick, name="realm-tick", daemon=True).start()
            self._alive[guest] = thread
            thread.start()

    def _main(self, guest: ComponentGuest) -> None:
        self._here.guest = guest
        guest.run()
        del self._here.guest
        with self._changed:
            del self._alive[guest]
            self._start_waiting()
            self._changed.notify_all()
        guest.tell_end()

    def _tick(self) -> None:
        """Its own thread while any guest is alive: the clock that interrupts computing guests."""
        with self._changed:
            while self._alive:
                self._changed.wait(_TICK_SECONDS)
                self.api.engine_increment_epoch(self.engine)


def _host_callback(api: component_native.Api, here: threading.local) -> Any:
    """What the library calls for every host function, on the thread of the guest that calls."""

    def on_call(
        number: int | None,
        _context: int,
        _type: int,
        arguments: int,
        count: int,
        results: int,
        _result_count: int,
    ) -> int:
        try:
            reason = here.guest.call_host(number or 0, arguments, count, results)
        except BaseException:
            _LOGGER.exception("a component's host call failed")
            reason = _FAULT
        return 0 if reason is None else int(api.error_new(reason))

    return component_native.HostCall(on_call)


def _end_all(
    changed: threading.Condition,
    alive: dict[ComponentGuest, threading.Thread],
    waiting: deque[ComponentGuest],
) -> None:
    with changed:
        waiting.clear()
        threads = list(alive.values())
        for guest in alive:
            guest.close()
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(_JOIN_SECONDS)
