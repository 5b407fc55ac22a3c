"""Which tenants, models and items there are, and what they mean to the runtime.

What Configure tells of tenants is written down at once and carried to the runtime when the tenant's
next request comes, so that ten thousand tenants cost a start nothing. An item that cannot be used
leaves its name meaning what it meant before.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence

from realm.config import ModelConfig
from realm.config.generation import CONSTRAINTS
from realm.errors import (
    AdapterNotFoundError,
    ConfigError,
    DraftMismatchError,
    GGUFError,
    ModelError,
    ModelNotFoundError,
    RealmError,
    RequestError,
    TokenizerError,
    UnauthorizedError,
)
from realm.runtime import RuntimeManager, TenantRuntime
from realm.server.definitions import Item, Model, Tenant
from realm.server.engine_process.item_files import KINDS, ItemKey, Items, read_program
from realm.server.engine_process.public_words import PublicWords
from realm.server.engine_process.tenant_terms import policy_of
from realm.server.wire.messages import Configure, Generate

_LOGGER = logging.getLogger(__name__)


class Tenancy:
    """Any thread may use it; changes of one tenant, and of everyone's items, one at a time."""

    def __init__(self, manager: RuntimeManager, words: PublicWords) -> None:
        self._manager = manager
        self._words = words
        self._lock = threading.Lock()
        self._models: dict[str, Model] = {}
        self._tenants: dict[str, Tenant] = {}
        self._items = Items()
        self._wasm: dict[str, bytes] = {}
        self._applied: dict[str, tuple[Tenant, int]] = {}
        self._misfits: set[tuple[str, str]] = set()
        self.is_configured = False

    def configure(self, told: Configure) -> None:
        """All is as told from now on. Raises the error of the first model that cannot be loaded.

        Items that cannot be used are left out, and logged.
        """
        known = {tenant.tenant_id for tenant in told.tenants}
        self._reconcile_items("adapter", told.adapters, known)
        self._reconcile_items("program", told.programs, known)
        self._reconcile_items("draft", told.drafts, known)
        with self._lock:
            self._tenants = {tenant.tenant_id: tenant for tenant in told.tenants}
        for tenant_id in self._manager.tenant_ids:
            if tenant_id not in known:
                self._forget(tenant_id)
        for model in told.models:
            self._words.name(model.path, f"model {model.name!r}")
            if model.draft_path is not None:
                self._words.name(model.draft_path, f"the draft of {model.name!r}")
            self._manager.load_model(_model_config(model))
        with self._lock:
            self._models = {model.name: model for model in told.models}
            self.is_configured = True

    def put_tenant(self, tenant: Tenant) -> None:
        """Raises ConfigError for limits that cannot be kept; then nothing has changed."""
        with self._lock:
            before = self._tenants.get(tenant.tenant_id)
            self._tenants[tenant.tenant_id] = tenant
        try:
            self._apply(tenant)
        except RealmError:
            with self._lock:
                if before is None:
                    self._tenants.pop(tenant.tenant_id, None)
                else:
                    self._tenants[tenant.tenant_id] = before
            raise

    def remove_tenant(self, tenant_id: str) -> None:
        """The tenant's requests end and all that is known of it is forgotten."""
        with self._lock:
            self._tenants.pop(tenant_id, None)
        for kind, name in self._items.of_tenant(tenant_id):
            self.remove_item(kind, name, tenant_id)
        self._forget(tenant_id)

    def put_item(self, kind: str, item: Item) -> None:
        """Raises the error of what cannot be used."""
        self._words.name(item.path, f"{kind} {item.name!r}")
        key = (kind, item.tenant_id, item.name)
        if kind not in KINDS:
            raise ConfigError(f"there are no items of kind {kind!r}")
        if self._items.get(key) == item:
            return
        if kind == "adapter":
            self._manager.lora.load(item.name, item.path, item.tenant_id)
        elif kind == "program":
            wasm = read_program(item)
            self._manager.check_program(wasm)
            with self._lock:
                self._wasm[item.digest] = wasm
        else:
            self._manager.check_draft(item.path)
        before = self._items.get(key)
        self._items.put(key, item)
        self._let_go(kind, before)

    def remove_item(self, kind: str, name: str, tenant_id: str | None) -> None:
        """Nothing happens to a name that means nothing."""
        before = self._items.get((kind, tenant_id, name))
        if self._items.remove((kind, tenant_id, name)) and kind == "adapter":
            with contextlib.suppress(AdapterNotFoundError):
                self._manager.lora.unload(name, tenant_id)
        self._let_go(kind, before)

    def tenant(self, tenant_id: str) -> Tenant:
        """Raises RequestError for one that is not known, UnauthorizedError for one that is off."""
        tenant = self._tenants.get(tenant_id)
        if tenant is None:
            raise RequestError(f"no tenant {tenant_id!r}")
        if not tenant.is_enabled:
            raise UnauthorizedError("the tenant is disabled")
        return tenant

    def is_current(self, tenant: Tenant) -> bool:
        """Whether the tenant is still known; a change of it is none."""
        return tenant.tenant_id in self._tenants

    def forget_again(self, tenant_id: str) -> None:
        """For a request that met its tenant's removal: nothing of it stays."""
        self._forget(tenant_id)

    def runtime(self, tenant: Tenant, model_name: str) -> TenantRuntime:
        """The tenant's runtime on the model, with what holds for it now.

        Raises ModelNotFoundError, the same whether the model is not there or not the tenant's.
        """
        model = self._models.get(model_name)
        if model is None or (tenant.models is not None and model_name not in tenant.models):
            raise ModelNotFoundError(f"no model {model_name!r}")
        self._apply(tenant)
        create = self._manager.get_or_create_runtime_with_model
        config = self._config_for(tenant, model)
        try:
            return create(tenant.tenant_id, config)
        except (DraftMismatchError, GGUFError, ModelError, TokenizerError) as error:
            if config.draft_model_path is None:
                raise
            # Drafts are for speed alone: the request is served without.
            _LOGGER.warning(
                "a draft cannot be used",
                extra={"tenant": tenant.tenant_id, "model": model_name, "reason": str(error)},
            )
            self._misfits.add((model.name, str(config.draft_model_path)))
            return create(tenant.tenant_id, ModelConfig(model.path, model.name))

    def is_warm(self, call: Generate) -> bool:
        """Whether `runtime` and what follows on it only have to look things up for this call."""
        tenant, model = self._tenants.get(call.tenant_id), self._models.get(call.model)
        if tenant is None or model is None or not call.options.keys().isdisjoint(CONSTRAINTS):
            return False
        if not self._is_applied(tenant, self._items.version_of(tenant.tenant_id)):
            return False
        config = self._config_for(tenant, model)
        runtime = self._manager.present_runtime(tenant.tenant_id, config)
        program = call.program if call.program is not None else tenant.program
        return runtime is not None and runtime.is_compiled(program)

    def _is_applied(self, tenant: Tenant, version: int) -> bool:
        applied = self._applied.get(tenant.tenant_id)
        return applied is not None and applied[0] is tenant and applied[1] == version

    def _apply(self, tenant: Tenant) -> None:
        version = self._items.version_of(tenant.tenant_id)
        if self._is_applied(tenant, version):
            return
        names = self._items.usable("program", tenant.tenant_id)
        programs = {}
        for name, item in names.items():
            try:
                programs[name] = self._wasm_of(item)
            except RealmError as error:
                _LOGGER.warning("a program cannot be read", extra={"reason": str(error)})
        policy = policy_of(tenant, programs)
        if self._manager.tenant_policy(tenant.tenant_id) != policy:
            self._manager.set_tenant_policy(tenant.tenant_id, policy)
        self._applied[tenant.tenant_id] = (tenant, version)

    def _let_go(self, kind: str, item: Item | None) -> None:
        """Of what no item of the kind has any more; `item` was one until now."""
        if kind == "program":
            self._keep_programs_in_use()
        elif kind == "draft" and item is not None and not self._has_draft(item.digest):
            self._manager.release_draft(_draft_id(item))

    def _has_draft(self, digest: str) -> bool:
        return any(each.digest == digest for each in self._items.of_kind("draft").values())

    def _keep_programs_in_use(self) -> None:
        with self._lock:
            if self._wasm:
                used = {item.digest for item in self._items.of_kind("program").values()}
                self._wasm = {key: wasm for key, wasm in self._wasm.items() if key in used}

    def _wasm_of(self, item: Item) -> bytes:
        wasm = self._wasm.get(item.digest)
        if wasm is None:
            wasm = read_program(item)
            with self._lock:
                wasm = self._wasm.setdefault(item.digest, wasm)
        return wasm

    def _config_for(self, tenant: Tenant, model: Model) -> ModelConfig:
        name = tenant.drafts.get(model.name)
        item = self._items.find("draft", tenant.tenant_id, name) if name is not None else None
        if item is not None and (model.name, item.path) not in self._misfits:
            return ModelConfig(model.path, model.name, item.path, _draft_id(item))
        config = _model_config(model)
        if (model.name, str(config.draft_model_path)) in self._misfits:
            return ModelConfig(model.path, model.name)
        return config

    def _forget(self, tenant_id: str) -> None:
        self._applied.pop(tenant_id, None)
        with contextlib.suppress(ConfigError):  # the runtime has not met it, or someone was faster
            self._manager.remove_tenant(tenant_id)

    def _reconcile_items(self, kind: str, items: Sequence[Item], known: set[str]) -> None:
        told: dict[ItemKey, Item] = {
            (kind, item.tenant_id, item.name): item
            for item in items
            if item.tenant_id is None or item.tenant_id in known
        }
        for _, tenant_id, name in [key for key in self._items.of_kind(kind) if key not in told]:
            self.remove_item(kind, name, tenant_id)
        for key, item in told.items():
            self._words.name(item.path, f"{kind} {item.name!r}")
            if kind != "adapter":  # looked at when it is first asked for
                self._items.put(key, item)
                continue
            try:
                self.put_item(kind, item)
            except RealmError as error:
                fields = {"kind": kind, "name_of_item": item.name, "tenant": item.tenant_id}
                _LOGGER.warning("an item cannot be used", extra={**fields, "reason": str(error)})


def _draft_id(item: Item) -> str:
    return f"draft:{item.digest}"


def _model_config(model: Model) -> ModelConfig:
    if model.draft_path is None:
        return ModelConfig(model.path, model.name)
    return ModelConfig(model.path, model.name, model.draft_path, f"{model.name}:draft")
