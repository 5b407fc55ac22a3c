"""Programs as a manager's tenants run them: compiled once, when the first one is needed."""

from __future__ import annotations

import threading

from realm.runtime.limits import HostLimits
from realm.runtime.module_cache import default_module_cache
from realm.runtime.program import GuestHost, GuestProgram, default_program


class CompiledPrograms:
    """Any thread may use it. own: of tenants that bring none; the default program for None."""

    def __init__(self, limits: HostLimits, own: bytes | None) -> None:
        self._limits = limits
        self._own = own
        self._lock = threading.Lock()
        self._host: GuestHost | None = None
        self._program: GuestProgram | None = None

    def compile(self, wasm: bytes | None) -> GuestProgram:
        """Of these bytes, or of the manager's own program for None. Raises GuestError's kinds."""
        with self._lock:
            if self._host is None:
                self._host = GuestHost(self._limits, cache=default_module_cache())
            host = self._host
            if wasm is None and self._program is not None:
                return self._program
        if wasm is not None:
            return host.compile(wasm)
        program = host.compile(self._own if self._own is not None else default_program())
        self._program = program
        return program
