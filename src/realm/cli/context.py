"""What a command may touch: the three streams, the engine and the catalog.

Commands get it as an argument, so that a test can put its own things in their place. The engine's
modules are imported when a command first asks for them, never before.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO, cast

if TYPE_CHECKING:
    from realm.catalog import Catalog
    from realm.config import EngineConfig
    from realm.runtime import GuestLimits, HostLimits, RuntimeManager

_PROBE_BYTES = 512 << 20  # well past any cache


class OpenRuntime(Protocol):
    """Makes a RuntimeManager of this engine configuration."""

    def __call__(
        self,
        configuration: EngineConfig,
        *,
        program: bytes | None = None,
        limits: GuestLimits | None = None,
        host_limits: HostLimits | None = None,
    ) -> RuntimeManager:
        """program, limits: of the tenants; the default ones when left out, as host_limits."""


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of one command.

    open_runtime: a RuntimeManager; the command closes it.
    open_catalog: the catalog in this folder, None for the default one.
    measure_bandwidth: bytes per second that this many threads read from memory.
    instruction_set: name of the kernels' instruction set on this machine.
    """

    stdin: TextIO
    stdout: TextIO
    stderr: TextIO
    open_runtime: OpenRuntime
    open_catalog: Callable[[Path | None], Catalog]
    measure_bandwidth: Callable[[int], float]
    instruction_set: Callable[[], str]


def standard_context() -> Context:
    """The process's own streams, the real engine and the real catalog."""
    return Context(
        stdin=sys.stdin,
        stdout=sys.stdout,
        stderr=sys.stderr,
        open_runtime=_open_runtime,
        open_catalog=_open_catalog,
        measure_bandwidth=_measure_bandwidth,
        instruction_set=_instruction_set,
    )


def _open_runtime(
    configuration: EngineConfig,
    *,
    program: bytes | None = None,
    limits: GuestLimits | None = None,
    host_limits: HostLimits | None = None,
) -> RuntimeManager:
    module = importlib.import_module("realm.runtime")
    manager = module.RuntimeManager(configuration, program, limits=limits, host_limits=host_limits)
    return cast("RuntimeManager", manager)


def _open_catalog(directory: Path | None) -> Catalog:
    module = importlib.import_module("realm.catalog")
    return cast("Catalog", module.Catalog(directory))


def _measure_bandwidth(threads: int) -> float:
    return float(importlib.import_module("realm.kernels").measure_bandwidth(threads, _PROBE_BYTES))


def _instruction_set() -> str:
    return str(importlib.import_module("realm.kernels").instruction_set())
