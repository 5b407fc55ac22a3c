"""Who a key belongs to, and what a tenant may name: answered from memory.

It is a picture of the store that `refresh` takes anew when the store has changed, whole or not at
all; a request that came before goes on with the older one. Refusals never tell why, nor whether
something of that name exists for others.
"""

from __future__ import annotations

import hmac
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from realm.errors import (
    AdapterNotFoundError,
    ModelNotFoundError,
    RequestError,
    UnauthorizedError,
)
from realm.server.definitions import Item, Model, Tenant
from realm.server.front.identity import Identity
from realm.server.store import Snapshot, StoredKey, TenantStore
from realm.server.store.key_secret import digest_of, prefix_of

DEFAULT_TENANT_ID = "default"
"""Whose requests are that come without a key, where none is asked for."""

_HEADER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9_-]{1,256})")
_LONGEST_KEY = 256
_LONGEST_TOLD = 200
_NOBODY = bytes(32)
_REFUSED = "this key opens nothing here"
_UNREADABLE = "a key is wanted: Authorization: Bearer KEY"


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """adapter: its name, None where none was asked for."""

    model: Model
    adapter: str | None


@dataclass(frozen=True, slots=True)
class _Picture:
    """adapters: names by tenant, None for everyone's."""

    revision: int
    tenants: Mapping[str, Tenant]
    keys: Mapping[str, StoredKey]
    items: Mapping[str, tuple[Item, ...]]
    adapters: Mapping[str | None, frozenset[str]]


class Directory:
    """Any thread may use it."""

    def __init__(
        self,
        store: TenantStore,
        models: Sequence[Model],
        *,
        keys_required: bool,
        wall_clock: Callable[[], float],
    ) -> None:
        """models: all that the server serves, in order. keys_required: may be changed later.
        wall_clock: seconds since 1970.

        Without keys_required there is always a tenant "default", the store's if it has one. Raises
        TenantStoreError.
        """
        self.store = store
        self.models = tuple(models)
        self.keys_required = keys_required
        self._models = {model.name: model for model in self.models}
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._picture = self._take(store.snapshot())

    def refresh(self) -> bool:
        """Read the store again if it has changed; whether it had. Raises TenantStoreError; then
        what was known still holds."""
        with self._lock:
            if self.store.revision() == self._picture.revision:
                return False
            self._picture = self._take(self.store.snapshot())
            return True

    def authenticate(self, authorization_header: str | None) -> Identity:
        """Who sends this header's value. Raises UnauthorizedError."""
        found = None if authorization_header is None else _HEADER.fullmatch(authorization_header)
        if found is not None:
            return self.authenticate_key(found[1])
        if self.keys_required:
            raise UnauthorizedError(_UNREADABLE)
        return self._anyone()

    def authenticate_key(self, key: str) -> Identity:
        """Who has this key. Raises UnauthorizedError, in the same words whatever is wrong with it.

        Where keys are not asked for, texts that are none of this server's keys are let in: many
        clients cannot but send one.
        """
        text = key if len(key) <= _LONGEST_KEY else ""
        prefix, picture = prefix_of(text), self._picture
        stored = None if prefix is None else picture.keys.get(prefix)
        # Always compared, and in time that tells nothing: also where there is no such key.
        matches = hmac.compare_digest(digest_of(text), _NOBODY if stored is None else stored.digest)
        if stored is not None and matches and self._is_open(stored, picture):
            tenant_id = stored.key.tenant_id
            tenant = None if tenant_id is None else picture.tenants[tenant_id]
            return Identity(tenant, stored.key.prefix)
        if not self.keys_required and prefix is None:
            return self._anyone()
        raise UnauthorizedError(_REFUSED)

    @property
    def has_keys(self) -> bool:
        """Whether there is any key, whoever has it."""
        return bool(self._picture.keys)

    def tenant(self, tenant_id: str) -> Tenant:
        """Raises RequestError for one that there is not."""
        found = self._picture.tenants.get(tenant_id)
        if found is None:
            raise RequestError(f"no tenant {tenant_id[:_LONGEST_TOLD]!r}")
        return found

    def tenants(self) -> Sequence[Tenant]:
        """All of them, disabled ones too."""
        return tuple(self._picture.tenants.values())

    def items(self, kind: str) -> Sequence[Item]:
        """All of a kind: "adapter", "program" or "draft"."""
        return self._picture.items[kind]

    def resolve_model(self, tenant: Tenant, name: str) -> ModelChoice:
        """What `model` or `model:adapter` means to the tenant: its own adapters and everyone's.

        Raises ModelNotFoundError, AdapterNotFoundError.
        """
        model_name, colon, adapter = name.partition(":")
        model = self._models.get(model_name)
        if model is None or not _may_use(tenant, model):
            raise ModelNotFoundError(f"there is no model {model_name[:_LONGEST_TOLD]!r}")
        if not colon:
            return ModelChoice(model, None)
        adapters = self._picture.adapters
        if not any(adapter in adapters.get(owner, ()) for owner in (None, tenant.tenant_id)):
            raise AdapterNotFoundError(f"there is no adapter {adapter[:_LONGEST_TOLD]!r}")
        return ModelChoice(model, adapter)

    def model_names(self, tenant: Tenant) -> list[str]:
        """All that `resolve_model` takes: each model, then it with each adapter."""
        adapters = sorted(self._adapters(tenant))
        return [
            name
            for model in self.models
            if _may_use(tenant, model)
            for name in (model.name, *(f"{model.name}:{adapter}" for adapter in adapters))
        ]

    def _anyone(self) -> Identity:
        tenant = self._picture.tenants.get(DEFAULT_TENANT_ID, Tenant(DEFAULT_TENANT_ID))
        if not tenant.is_enabled:
            raise UnauthorizedError(_REFUSED)
        return Identity(tenant, None)

    def _is_open(self, stored: StoredKey, picture: _Picture) -> bool:
        key = stored.key
        if not key.is_enabled:
            return False
        if key.expires_at is not None and self._wall_clock() >= key.expires_at:
            return False
        return key.tenant_id is None or picture.tenants[key.tenant_id].is_enabled

    def _adapters(self, tenant: Tenant) -> frozenset[str]:
        adapters = self._picture.adapters
        nothing: frozenset[str] = frozenset()
        return adapters.get(None, nothing) | adapters.get(tenant.tenant_id, nothing)

    def _take(self, snapshot: Snapshot) -> _Picture:
        tenants = {tenant.tenant_id: tenant for tenant in snapshot.tenants}
        if not self.keys_required:
            tenants.setdefault(DEFAULT_TENANT_ID, Tenant(DEFAULT_TENANT_ID))
        names: dict[str | None, set[str]] = {}
        for item in snapshot.items["adapter"]:
            names.setdefault(item.tenant_id, set()).add(item.name)
        return _Picture(
            snapshot.revision,
            tenants,
            {stored.key.prefix: stored for stored in snapshot.keys},
            snapshot.items,
            {owner: frozenset(group) for owner, group in names.items()},
        )


def _may_use(tenant: Tenant, model: Model) -> bool:
    return tenant.models is None or model.name in tenant.models
