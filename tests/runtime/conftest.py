"""Fixtures of the runtime's tests: one host of guests, and programs from WASM text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from realm.config import EngineConfig, ModelConfig
from realm.runtime import RuntimeManager, TenantPolicy
from realm.runtime.limits import GuestLimits, HostLimits
from realm.runtime.program import GuestHost, GuestProgram, default_program
from realm.runtime.tenant import TenantRuntime

from .fakes import FakeEngine
from .tenants import Stage

MEMORY_BYTES = 1 << 20
CONFIG = EngineConfig(threads=2, cache_bytes=64 << 20, prefill_chunk_tokens=16, step_tokens=64)
SMALL = {"limits": GuestLimits(memory_bytes=4 << 20), "host_limits": HostLimits(guest_count=8)}


@pytest.fixture(scope="session")
def host() -> GuestHost:
    return GuestHost(HostLimits(guest_count=64, memory_bytes=MEMORY_BYTES))


@pytest.fixture(scope="session")
def assemble(host) -> Callable[[str], bytes]:
    """WASM text to a module."""
    return host.native.wat_to_wasm


@pytest.fixture(scope="session")
def compile_wat(host, assemble) -> Callable[[str], GuestProgram]:
    return lambda source: host.compile(assemble(source))


@pytest.fixture
def limits() -> GuestLimits:
    return GuestLimits(memory_bytes=MEMORY_BYTES, compute_seconds=0.05)


@pytest.fixture(scope="session")
def default_guest(host) -> GuestProgram:
    return host.compile(default_program())


@pytest.fixture
def open_stage() -> Iterator[Callable[..., Stage]]:
    """Stages that are closed at the end of the test."""
    stages: list[Stage] = []

    def open_one(
        script: bytes | list[int] | None = b"", *, active_limit: int = 32, **options: Any
    ) -> Stage:
        stages.append(Stage(FakeEngine(script), active_limit, **options))
        return stages[-1]

    yield open_one
    for stage in stages:
        stage.close()


@pytest.fixture
def speak(open_stage, default_guest) -> Callable[..., TenantRuntime]:
    """A tenant of the default program on an engine that says `script`."""

    def open_tenant(script: bytes | list[int] | None, **options: Any) -> TenantRuntime:
        stage = open_stage(script, **options)
        tenant = stage.tenant(default_guest, GuestLimits(memory_bytes=MEMORY_BYTES))
        tenant.stage = stage
        return tenant

    return open_tenant


@pytest.fixture
def open_manager() -> Iterator[Callable[..., RuntimeManager]]:
    """Small managers of the real runtime that are closed at the end of the test."""
    managers: list[RuntimeManager] = []

    def open_one(**options: Any) -> RuntimeManager:
        managers.append(RuntimeManager(CONFIG, **{**SMALL, **options}))
        return managers[-1]

    yield open_one
    for manager in managers:
        manager.close()


@pytest.fixture
def tenant_of(model_path: Path) -> Callable[..., TenantRuntime]:
    """A tenant's runtime on the module's `model_path`, with this policy if one is given."""

    def open_tenant(manager: RuntimeManager, name: str = "a", **policy: Any) -> TenantRuntime:
        if policy:
            manager.set_tenant_policy(name, TenantPolicy(**policy))
        return manager.get_or_create_runtime_with_model(name, ModelConfig(model_path, "tiny"))

    return open_tenant
