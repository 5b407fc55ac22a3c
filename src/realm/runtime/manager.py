"""The runtime of a process: models in memory once, an engine thread, and tenants' runtimes."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Mapping
from types import MappingProxyType, TracebackType

from realm.config import EngineConfig, ModelConfig
from realm.engine import Engine
from realm.errors import ConfigError, ModelNotFoundError, NotSupportedError, RequestError
from realm.model import ModelStorage, StoredModel
from realm.runtime.hosted_model import HostedModel
from realm.runtime.limits import GuestLimits, HostLimits
from realm.runtime.loop import EngineLoop
from realm.runtime.program import GuestHost, GuestProgram, default_program
from realm.runtime.tenant import RuntimeParts, TenantRuntime


class RuntimeManager:
    """Where everything starts: a context manager, for use by any number of threads.

    config: how much of the machine the engine takes. program: the WASM module that tenants run;
    the default one when left out. limits: of each request's guest.
    """

    def __init__(
        self,
        config: EngineConfig | None = None,
        program: bytes | None = None,
        *,
        limits: GuestLimits | None = None,
        host_limits: HostLimits | None = None,
    ) -> None:
        """Raises GuestError's kinds for a program that cannot run."""
        self._config = config if config is not None else EngineConfig()
        self._limits = limits if limits is not None else GuestLimits()
        self._host_limits = host_limits if host_limits is not None else HostLimits()
        if self._limits.memory_bytes > self._host_limits.memory_bytes:
            raise ConfigError("a guest's memory_bytes exceed what the pool reserves for one")
        self._lock = threading.Lock()
        self._program_bytes = program
        self._program: GuestProgram | None = None
        self._storage = ModelStorage(self._config.threads)
        self._models: dict[str, StoredModel] = {}
        self._tenants: dict[tuple[str, str], TenantRuntime] = {}
        self._hosted: dict[str, dict[str, HostedModel]] = {}
        self._is_closed = False
        if program is not None:
            self._compiled_program()
        self._engine = Engine(self._config, time.perf_counter)
        loop = EngineLoop(self._engine, time.perf_counter, self._host_limits.guest_count)
        # A forgotten manager must not leave a thread in native code when the interpreter ends.
        self._stop = weakref.finalize(self, loop.close)
        self._parts = RuntimeParts(self._engine, loop, self._compiled_program, time.perf_counter)

    @property
    def models(self) -> Mapping[str, StoredModel]:
        """The loaded models by the names they were asked for; a view that stays current."""
        return MappingProxyType(self._models)

    def get_or_create_runtime_with_model(
        self, tenant_id: str, config: ModelConfig
    ) -> TenantRuntime:
        """The tenant's runtime on this model, loading the model when nobody has yet.

        Raises GGUFError, ModelError, TokenizerError or ChatTemplateError for the model,
        NotSupportedError for a draft, ConfigError for a name that means another model already.
        """
        if config.draft_model_path is not None:
            raise NotSupportedError(
                "draft_model_path: speculative decoding is not offered by this version"
            )
        if not tenant_id:
            raise ConfigError("tenant_id is empty")
        with self._lock:
            if self._is_closed:
                raise RequestError("the runtime is closed")
            present = self._tenants.get((tenant_id, config.name))
            if present is not None and present.model_config == config:
                return present
            stored, load_seconds = self._load(config)
            allowed = self._hosted.setdefault(tenant_id, {})
            if config.name not in allowed:
                allowed[config.name] = HostedModel(config.name, stored, load_seconds)
            runtime = TenantRuntime(
                tenant_id,
                config,
                allowed[config.name],
                models=MappingProxyType(allowed),
                parts=self._parts,
                limits=self._limits,
            )
            self._tenants[tenant_id, config.name] = runtime
            return runtime

    def free_page_count(self, name: str) -> int | None:
        """Free cache pages of a loaded model; None while it has had no session.

        Raises ModelNotFoundError.
        """
        if name not in self._models:
            raise ModelNotFoundError(f"no model is loaded as {name!r}")
        return self._engine.free_page_count(self._models[name])

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

    def _load(self, config: ModelConfig) -> tuple[StoredModel, float]:
        started = time.perf_counter()
        stored = self._storage.load(config.model_path)
        known = self._models.setdefault(config.name, stored)
        if known is not stored:
            raise ConfigError(f"the name {config.name!r} means another model already")
        return stored, time.perf_counter() - started

    def _compiled_program(self) -> GuestProgram:
        program = self._program
        if program is None:
            with self._lock:
                if self._program is None:
                    host = GuestHost(self._host_limits)
                    wasm = self._program_bytes
                    self._program = host.compile(wasm if wasm is not None else default_program())
                program = self._program
        return program
