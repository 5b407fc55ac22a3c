"""Fixtures of the runtime's tests: one host of guests, and programs from WASM text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from realm.runtime.limits import GuestLimits, HostLimits
from realm.runtime.program import GuestHost, GuestProgram

MEMORY_BYTES = 1 << 20


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
