"""Tenants over a scripted engine: real guests, a real loop, no model."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from realm.config import ModelConfig
from realm.lora import LoRAManager
from realm.runtime.hosted_model import HostedModel
from realm.runtime.limits import GuestLimits
from realm.runtime.loop import EngineLoop
from realm.runtime.policy import TenantPolicy
from realm.runtime.program import GuestProgram
from realm.runtime.state_store import MemoryStateStore
from realm.runtime.tenant import RuntimeParts, TenantRuntime
from realm.runtime.tenant_record import TenantRecord
from realm.runtime.workers import Workers
from realm.session.constraint import ConstraintCompiler

from .fakes import FakeEngine, FakeGuestModels, FakeModel


class Stage:
    """One engine and its loop; `tenant` makes tenants with programs of their own on it."""

    def __init__(
        self, engine: FakeEngine, active_limit: int, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self.engine = engine
        self.now = now
        self.model = FakeModel()
        self.loop = EngineLoop(engine, now, active_limit)
        self.state = MemoryStateStore()
        self.guest_models = FakeGuestModels()
        self.lora = LoRAManager(1 << 20)
        self.workers = Workers("worker", 2, 1)
        self.tool_workers = Workers("tool", 4, 4)

    def tenant(
        self,
        program: GuestProgram,
        limits: GuestLimits,
        tenant_id: str = "tenant",
        **policy: Any,
    ) -> TenantRuntime:
        hosted = HostedModel("fake", self.model, 0.5)
        record = TenantRecord(tenant_id, TenantPolicy(**policy), lambda _: program, self.now())
        record.models["fake"] = hosted
        parts = RuntimeParts(
            engine=self.engine,
            loop=self.loop,
            now=self.now,
            limits=limits,
            state=self.state,
            guest_models=self.guest_models,
            workers=self.workers,
            tool_workers=self.tool_workers,
            constraints=ConstraintCompiler(),
            lora=self.lora,
        )
        return TenantRuntime(ModelConfig("fake"), hosted, tenant=record, parts=parts)

    def close(self) -> None:
        self.loop.close()
        self.lora.close()
        self.workers.close()
        self.tool_workers.close(wait_seconds=0.0)
