"""Fixtures of the engine process's tests: a tiny model, and one manager for all of a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.tiny_model import TinyModel

from realm.config import EngineConfig
from realm.runtime import HostLimits, RuntimeManager


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyModel().write(tmp_path_factory.mktemp("models") / "tiny.gguf")


@pytest.fixture(scope="module")
def manager() -> Iterator[RuntimeManager]:
    config = EngineConfig(threads=2, cache_bytes=64 << 20, prefill_chunk_tokens=64, step_tokens=64)
    with RuntimeManager(config, host_limits=HostLimits(guest_count=32)) as manager:
        yield manager
