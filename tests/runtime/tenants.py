"""Tenants over a scripted engine: real guests, a real loop, no model."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import MappingProxyType

from realm.config import ModelConfig
from realm.runtime.hosted_model import HostedModel
from realm.runtime.limits import GuestLimits
from realm.runtime.loop import EngineLoop
from realm.runtime.program import GuestProgram
from realm.runtime.tenant import RuntimeParts, TenantRuntime

from .fakes import FakeEngine, FakeModel


class Stage:
    """One engine and its loop; `tenant` makes tenants with programs of their own on it."""

    def __init__(
        self, engine: FakeEngine, active_limit: int, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self.engine = engine
        self.now = now
        self.model = FakeModel()
        self.loop = EngineLoop(engine, now, active_limit)

    def tenant(
        self, program: GuestProgram, limits: GuestLimits, tenant_id: str = "tenant"
    ) -> TenantRuntime:
        hosted = HostedModel("fake", self.model, 0.5)
        return TenantRuntime(
            tenant_id,
            ModelConfig("fake"),
            hosted,
            models=MappingProxyType({"fake": hosted}),
            parts=RuntimeParts(self.engine, self.loop, lambda: program, self.now),
            limits=limits,
        )
