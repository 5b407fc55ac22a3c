"""Tenants whose programs are components, on an engine that says what it is told to."""

from __future__ import annotations

from typing import Any

from tests.runtime.fakes import FakeEngine
from tests.runtime.tenants import Stage

from realm.runtime.limits import GuestLimits, HostLimits
from realm.runtime.program import GuestHost, GuestProgram
from realm.runtime.result import GenerationResult
from realm.runtime.tenant import TenantRuntime

MEMORY_BYTES = 4 << 20
LIMITS = HostLimits(guest_count=16, memory_bytes=MEMORY_BYTES, components=2)


class ComponentStage(Stage):
    """A stage with a host that takes components, and as many at once as `limits` says."""

    def __init__(self, script: bytes = b"", limits: HostLimits = LIMITS) -> None:
        super().__init__(FakeEngine(script), limits.guest_count)
        self.host = GuestHost(limits)

    def assemble(self, source: str) -> bytes:
        return self.host.component_tier().host.wat_to_wasm(source)

    def program(self, source: str) -> GuestProgram:
        return self.host.compile(self.assemble(source))

    def make(
        self, source: str, policy: dict[str, Any] | None = None, **limits: Any
    ) -> TenantRuntime:
        """A tenant of this component."""
        bounds = GuestLimits(**{"memory_bytes": MEMORY_BYTES, "compute_seconds": 0.2, **limits})
        return self.tenant(self.program(source), bounds, **(policy or {}))

    def run(self, source: str, **limits: Any) -> GenerationResult:
        """One request through a component."""
        return self.make(source, **limits).generate("hello")

    @property
    def alive(self) -> int:
        """Components that have a thread, once those that end have ended."""
        tier = self.host.component_tier()
        with tier._changed:
            tier._changed.wait_for(lambda: not tier._alive, timeout=5)
            return len(tier._alive)
