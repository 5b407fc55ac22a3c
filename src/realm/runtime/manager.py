"""The runtime of a process: models in memory once, an engine thread, and tenants' runtimes."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType

from realm.config import EngineConfig, ModelConfig
from realm.engine import Engine
from realm.errors import (
    AdapterNotFoundError,
    ConfigError,
    ModelNotFoundError,
    RequestError,
)
from realm.lora import LoRAManager
from realm.model import DraftModel, ModelStorage, StoredModel
from realm.runtime.account import TenantMetrics
from realm.runtime.compiled_programs import CompiledPrograms
from realm.runtime.engine_figures import EngineFigures, read_engine_figures
from realm.runtime.guest_models import GuestModels
from realm.runtime.hosted_model import HostedModel
from realm.runtime.limits import GuestLimits, HostLimits
from realm.runtime.loop import EngineLoop
from realm.runtime.model_shelf import ModelShelf
from realm.runtime.policy import TenantPolicy
from realm.runtime.program import GuestProgram
from realm.runtime.state_store import FileStateStore, MemoryStateStore, StateStore
from realm.runtime.tenant import RuntimeParts, TenantRuntime
from realm.runtime.tenant_record import TenantRecord
from realm.runtime.tenant_registry import RegisteredTenant, TenantRegistry
from realm.runtime.tenant_removal import forget_tenant
from realm.runtime.workers import Workers, make_workers
from realm.session.constraint import ConstraintCompiler


class RuntimeManager:
    """Where everything starts: a context manager, for use by any number of threads.

    config: how much of the machine the engine takes. program: the WASM module of tenants that have
    none of their own; the default one when left out. limits: of each request's guest, likewise.
    state_path: a file for what programs keep from request to request, and for the tenants with
    their policies, adapters and models; without one all of it lives as long as the manager.
    idle_seconds: after which a tenant's runtimes and program are let go of; its policy, figures and
    state stay.

    lora: the adapters of all tenants.
    """

    def __init__(
        self,
        config: EngineConfig | None = None,
        program: bytes | None = None,
        *,
        limits: GuestLimits | None = None,
        host_limits: HostLimits | None = None,
        state_path: str | Path | None = None,
        idle_seconds: float = 3600.0,
    ) -> None:
        """Raises GuestError's kinds for a program that cannot run.

        ConfigError for a state_path that is no state file, StateStoreError for a damaged one.
        """
        self._config = config if config is not None else EngineConfig()
        self._limits = limits if limits is not None else GuestLimits()
        self._host_limits = host_limits if host_limits is not None else HostLimits()
        _check_pool(self._limits, self._host_limits)
        if not idle_seconds > 0:
            raise ConfigError(f"idle_seconds must be > 0, not {idle_seconds}")
        self._lock = threading.Lock()
        self._registry_lock = threading.Lock()
        self._removal_lock = threading.Lock()
        self._programs = CompiledPrograms(self._host_limits, program)
        self.lora = LoRAManager(self._config.adapter_bytes)
        self._storage = ModelStorage(self._config.threads, adapters=self.lora)
        self._models = ModelShelf(self._storage, self._config.cache_precision)
        self._records: dict[str, TenantRecord] = {}
        self._tenants: dict[tuple[str, str], TenantRuntime] = {}
        self._idle_seconds = idle_seconds
        self._next_sweep = time.perf_counter() + idle_seconds
        self._is_closed = False
        if program is not None:
            self._programs.compile(None)
        with ExitStack() as opened:  # what is open is closed again when a later part fails
            state = MemoryStateStore() if state_path is None else FileStateStore(state_path)
            opened.callback(state.close)
            self._registry = None if state_path is None else TenantRegistry(state_path)
            if self._registry is not None:
                opened.callback(self._registry.close)
            self._engine = Engine(self._config, time.perf_counter, self._storage.side_work)
            self._parts = self._start(state)
            opened.pop_all()
            opened.callback(self._stop)
            self._restore()
            opened.pop_all()

    def _start(self, state: StateStore) -> RuntimeParts:
        """The threads, and `_stop`, which ends them."""
        engine = self._engine
        guests, memory = self._host_limits.guest_count, self._host_limits.all_memory_bytes
        loop = EngineLoop(engine, time.perf_counter, guests, memory)
        workers, tool_workers = make_workers(self._host_limits)
        constraints = ConstraintCompiler()

        def forget(model: StoredModel) -> None:
            constraints.forget(model)
            loop.call(partial(engine.forget_model, model))

        # A forgotten manager must not leave a thread in native code when the interpreter ends.
        holds = [each for each in (state, self._registry) if each is not None]
        self._stop = weakref.finalize(self, _stop, loop, self.lora, workers, tool_workers, holds)
        return RuntimeParts(
            engine=engine,
            loop=loop,
            now=time.perf_counter,
            limits=self._limits,
            state=state,
            guest_models=GuestModels(self._storage, forget, self._config.cache_precision),
            workers=workers,
            tool_workers=tool_workers,
            constraints=constraints,
            lora=self.lora,
        )

    @property
    def models(self) -> Mapping[str, StoredModel]:
        """The loaded models by the names they were asked for; a view that stays current."""
        return MappingProxyType(self._models.stored)

    def load_model(self, config: ModelConfig) -> StoredModel:
        """The model and its draft, for whoever has a runtime on it later. Raises as below."""
        return self._load(config)[0].stored

    def check_draft(self, path: str | Path) -> None:
        """Raises as below for a draft that no loaded model can use; keeps nothing of it."""
        self._models.check_draft(path)

    def release_draft(self, draft_id: str) -> None:
        """No configuration names this draft any more: its memory is free once the last sequence
        that drafts with it has ended."""
        draft = self._models.release_draft(draft_id)
        if draft is None:
            return
        with self._lock:
            for key, runtime in list(self._tenants.items()):
                if runtime.model_config.draft_model_id == draft_id:
                    del self._tenants[key]
            for record in self._records.values():
                record.drafts.forget(draft)
        self._parts.loop.call(partial(self._engine.forget_model, draft))

    def check_program(self, wasm: bytes) -> None:
        """Raises GuestError's kinds for a program that cannot run; its code goes to the cache."""
        self._programs.compile(wasm)

    def get_or_create_runtime_with_model(
        self, tenant_id: str, config: ModelConfig
    ) -> TenantRuntime:
        """The tenant's runtime on this model, loading the model when nobody has yet.

        Raises GGUFError, ModelError, TokenizerError or ChatTemplateError for the model,
        the same and DraftMismatchError for its draft, ConfigError for a name that means another
        model already.
        """
        with self._lock:
            record = self._record(tenant_id)
            record.last_used = time.perf_counter()
        present = self.present_runtime(tenant_id, config)
        if present is not None:
            return present
        hosted, draft = self._load(config)
        is_new = record.model_configs.get(config.name) != config
        record.model_configs[config.name] = config
        if is_new:
            self._register(record)
        with self._lock:
            record.require_present()
            record.models[config.name] = hosted
            record.drafts.configure(hosted.stored, draft)
            runtime = TenantRuntime(config, hosted, tenant=record, parts=self._parts)
            self._tenants[tenant_id, config.name] = runtime
        if time.perf_counter() > self._next_sweep:
            self.evict_idle()
        return runtime

    def present_runtime(self, tenant_id: str, config: ModelConfig) -> TenantRuntime | None:
        """The same; None where something would have to be loaded. Never waits nor raises."""
        present = self._tenants.get((tenant_id, config.name))
        return present if present is not None and present.model_config == config else None

    def set_tenant_policy(self, tenant_id: str, policy: TenantPolicy) -> None:
        """What holds for the tenant from its next request on; it need not have a runtime yet.

        Raises ConfigError, or GuestError's kinds for its program; then nothing has changed.
        """
        if policy.guest_limits is not None:
            _check_pool(policy.guest_limits, self._host_limits)
        with self._lock:
            record = self._record(tenant_id)
        record.set_policy(policy)
        self._register(record)
        self._parts.loop.call(partial(_set_weights, self._engine, [record]))

    def remove_tenant(self, tenant_id: str) -> None:
        """Ends the tenant's requests with CancelledError and forgets all that is known of it.

        That is its policy and program, its figures, its own adapters and the one that is set, what
        its programs keep, and its texts. Its runtimes take no more requests; the id may be used
        anew. Not for the tenant's own tools. Raises ConfigError for a tenant that is not known,
        RequestError when the runtime is closed, StateStoreError when the state file cannot be
        written; the tenant serves nobody then, and the same call finishes what is left.
        """
        with self._removal_lock:
            record = self._records.get(tenant_id)
            if record is None:
                raise ConfigError(f"no tenant {tenant_id!r}")
            with self._registry_lock:
                record.account.is_removed = True
            forget_tenant(record, self._parts, self._registry)
            with self._lock:
                self._drop_runtimes({tenant_id})
                del self._records[tenant_id]

    def tenant_policy(self, tenant_id: str) -> TenantPolicy:
        """What holds for the tenant now."""
        record = self._records.get(tenant_id)
        return TenantPolicy() if record is None else record.policy

    def set_tenant_lora_adapter(self, tenant_id: str, name: str | None) -> None:
        """What the tenant's requests take from now on when they name no adapter; None for none.

        name: one of `lora`, the tenant's own or everyone's. It may be loaded before the model is.
        Raises AdapterNotFoundError; then nothing has changed.
        """
        if name is not None and name not in {each.name for each in self.lora.list(tenant_id)}:
            raise AdapterNotFoundError(f"tenant {tenant_id!r} has no adapter {name!r}")
        with self._lock:
            record = self._record(tenant_id)
            record.adapter = name
        self._register(record)

    def registered_models(self, tenant_id: str) -> tuple[ModelConfig, ...]:
        """What the tenant has had a runtime on, in this process or an earlier one."""
        record = self._records.get(tenant_id)
        return () if record is None else tuple(record.model_configs.values())

    @property
    def tenant_ids(self) -> tuple[str, ...]:
        """Of all tenants that are known now."""
        return tuple(self._records)

    def metrics(self) -> dict[str, TenantMetrics]:
        """The figures of every tenant that was ever seen; each is a snapshot of its own."""
        with self._lock:
            records = list(self._records.values())
        drafts = self._engine.speculation_metrics
        return {each.tenant_id: each.account.metrics(drafts(each.tenant_id)) for each in records}

    def evict_idle(self, idle_seconds: float | None = None) -> int:
        """Lets go of the runtimes of tenants that were not used for so long; how many tenants.

        A runtime that someone still has goes on working, and the next one of the tenant is as good.
        """
        limit = self._idle_seconds if idle_seconds is None else idle_seconds
        now = time.perf_counter()
        with self._lock:
            self._next_sweep = now + self._idle_seconds / 10
            present = {tenant_id for tenant_id, _ in self._tenants}
            found = [self._records[tenant_id] for tenant_id in present]
            idle = [
                each for each in found if each.account.is_idle and now - each.last_used >= limit
            ]
            self._drop_runtimes({record.tenant_id for record in idle})
        for record in idle:
            record.let_go()
            self._parts.loop.call(record.drafts.let_go)
            self._parts.loop.call(partial(self._engine.forget_texts, record.tenant_id))
        return len(idle)

    def free_page_count(self, name: str) -> int | None:
        """Free cache pages of a loaded model; None while it has had no session.

        Raises ModelNotFoundError.
        """
        if name not in self.models:
            raise ModelNotFoundError(f"no model is loaded as {name!r}")
        return self._engine.free_page_count(self.models[name])

    def ask_figures(self, answer: Callable[[EngineFigures], None]) -> None:
        """The engine's figures, given to `answer` on the engine's thread, between two steps."""
        engine, lora, models = self._engine, self.lora, self._models.stored
        self._parts.loop.call(lambda: answer(read_engine_figures(engine, lora, models)))

    def close(self) -> None:
        """Ends every request with CancelledError and stops the engine; safe to repeat."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._stop()

    def __enter__(self) -> RuntimeManager:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _drop_runtimes(self, tenant_ids: Set[str]) -> None:
        for name in [name for name in self._tenants if name[0] in tenant_ids]:
            del self._tenants[name]

    def _record(self, tenant_id: str) -> TenantRecord:
        if not tenant_id:
            raise ConfigError("tenant_id is empty")
        if self._is_closed:
            raise RequestError("the runtime is closed")
        record = self._records.get(tenant_id)
        if record is not None:
            record.require_present()
        else:
            record = self._records[tenant_id] = TenantRecord(
                tenant_id, _DEFAULT_POLICY, self._compile, time.perf_counter()
            )
        return record

    def _restore(self) -> None:
        """The tenants of the state file. Compiles and loads nothing."""
        if self._registry is None:
            return
        weighted: list[TenantRecord] = []
        now = time.perf_counter()
        for tenant in self._registry.load():
            policy = tenant.policy
            if policy.guest_limits is not None:
                _check_pool(policy.guest_limits, self._host_limits)
            record = TenantRecord(tenant.tenant_id, policy, self._compile, now)
            record.adapter = tenant.adapter
            record.model_configs = {each.name: each for each in tenant.models}
            self._records[tenant.tenant_id] = record
            if policy.weight != 1.0:
                weighted.append(record)
        self._parts.loop.call(partial(_set_weights, self._engine, weighted))

    def _register(self, record: TenantRecord) -> None:
        with self._registry_lock:  # nothing is put once the tenant was removed
            record.require_present()
            if self._registry is not None:
                models = tuple(record.model_configs.values())
                self._registry.put(
                    RegisteredTenant(record.tenant_id, record.policy, record.adapter, models)
                )

    def _compile(self, wasm: bytes | None) -> GuestProgram:
        return self._programs.compile(wasm)  # so that whoever has a runtime keeps its manager

    def _load(self, config: ModelConfig) -> tuple[HostedModel, DraftModel | None]:
        hosted = self._models.load(config)
        return hosted, self._models.load_draft(config, hosted.stored)


_DEFAULT_POLICY = TenantPolicy()


def _check_pool(limits: GuestLimits, host_limits: HostLimits) -> None:
    if limits.memory_bytes > host_limits.memory_bytes:
        raise ConfigError("a guest's memory_bytes exceed what the pool reserves for one")


def _set_weights(engine: Engine, records: Sequence[TenantRecord]) -> None:
    for record in records:
        if not record.account.is_removed:
            engine.set_weight(record.tenant_id, record.policy.weight)


def _stop(
    loop: EngineLoop,
    lora: LoRAManager,
    workers: Workers,
    tool_workers: Workers,
    files: Sequence[StateStore | TenantRegistry],
) -> None:
    loop.close()
    lora.close()
    tool_workers.close(wait_seconds=0.0)
    workers.close()
    for each in files:
        each.close()
