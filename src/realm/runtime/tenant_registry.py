"""Registered tenants in the state file: what holds for each, so that a restart finds them all.

Programs are kept once, by their digest. Tools are functions of the host's process and are not kept:
whoever offers some sets the tenant's policy again. It never compiles a program or loads a model.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from realm.config import ModelConfig
from realm.errors import ConfigError, StateStoreError
from realm.runtime.limits import GuestLimits, TenantLimits
from realm.runtime.policy import TenantPolicy
from realm.runtime.state_file import StateFile

_TABLES = (
    "CREATE TABLE IF NOT EXISTS tenant (id TEXT PRIMARY KEY, policy TEXT NOT NULL, "
    "program BLOB, adapter TEXT, models TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS program (digest BLOB PRIMARY KEY, wasm BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS tenant_program (tenant TEXT NOT NULL, name TEXT NOT NULL, "
    "digest BLOB NOT NULL, PRIMARY KEY (tenant, name)) WITHOUT ROWID",
)


@dataclass(frozen=True, slots=True)
class RegisteredTenant:
    """policy: without tools. adapter: what its requests take when they name none. models: those
    that it has had a runtime on, by name.
    """

    tenant_id: str
    policy: TenantPolicy
    adapter: str | None
    models: tuple[ModelConfig, ...]


class TenantRegistry:
    """One SQLite file, in use by one process at a time; any thread of it. What was put survives."""

    def __init__(self, path: str | Path) -> None:
        """Raises ConfigError when the file cannot be opened or is something else."""
        self._file = StateFile(path, "the tenant registry", _TABLES)
        self._programs: set[bytes] = set()

    def load(self) -> Iterator[RegisteredTenant]:
        """Every tenant. Raises StateStoreError for what cannot be read or was changed by others."""
        with self._file.cursor() as cursor:
            programs = dict(cursor.execute("SELECT digest, wasm FROM program"))
            rows = cursor.execute(
                "SELECT id, policy, program, adapter, models FROM tenant"
            ).fetchall()
            named: dict[str, dict[str, bytes]] = {}
            for tenant_id, name, digest in cursor.execute(
                "SELECT tenant, name, digest FROM tenant_program ORDER BY tenant, name"
            ):
                named.setdefault(tenant_id, {})[name] = digest
        for digest, wasm in programs.items():
            if not isinstance(wasm, bytes) or hashlib.sha256(wasm).digest() != digest:
                raise StateStoreError(f"{self._file.path}: a program is not what was stored")
        self._programs = set(programs)
        # Thousands of tenants have a few policies and models between them.
        policies: dict[tuple[object, ...], TenantPolicy] = {}
        models: dict[str, tuple[ModelConfig, ...]] = {}
        for tenant_id, policy, digest, adapter, configs in rows:
            try:
                digests = named.get(tenant_id, {})
                key = (policy, digest, *digests.items())
                if key not in policies:
                    wasm = None if digest is None else programs[digest]
                    further = {name: programs[each] for name, each in digests.items()}
                    policies[key] = _read_policy(policy, wasm, further)
                if configs not in models:
                    models[configs] = tuple(ModelConfig(**each) for each in json.loads(configs))
            except (ConfigError, ValueError, TypeError, KeyError, AttributeError) as error:
                raise StateStoreError(f"{self._file.path}: tenant {tenant_id!r}: {error}") from None
            yield RegisteredTenant(tenant_id, policies[key], adapter, models[configs])

    def put(self, tenant: RegisteredTenant) -> None:
        """In place of what was known of this tenant. Raises StateStoreError."""
        wasm = tenant.policy.program
        digest = None if wasm is None else hashlib.sha256(wasm).digest()
        further = {
            name: (hashlib.sha256(each).digest(), each)
            for name, each in tenant.policy.programs.items()
        }
        configs = json.dumps([_plain(each) for each in tenant.models])
        row = (tenant.tenant_id, _write_policy(tenant.policy), digest, tenant.adapter, configs)
        with self._file.cursor() as cursor:
            for each in ((digest, wasm), *further.values()):
                if each[0] is not None and each[0] not in self._programs:
                    cursor.execute("INSERT OR REPLACE INTO program VALUES (?, ?)", each)
                    self._programs.add(each[0])
            cursor.execute("DELETE FROM tenant_program WHERE tenant = ?", (tenant.tenant_id,))
            cursor.executemany(
                "INSERT INTO tenant_program VALUES (?, ?, ?)",
                [(tenant.tenant_id, name, each[0]) for name, each in further.items()],
            )
            cursor.execute("INSERT OR REPLACE INTO tenant VALUES (?, ?, ?, ?, ?)", row)

    def forget(self, tenant_id: str) -> None:
        """The tenant, and programs that no tenant has any more. Raises StateStoreError."""
        with self._file.cursor() as cursor:
            cursor.execute("DELETE FROM tenant WHERE id = ?", (tenant_id,))
            cursor.execute("DELETE FROM tenant_program WHERE tenant = ?", (tenant_id,))
            cursor.execute(
                "DELETE FROM program WHERE digest NOT IN "
                "(SELECT program FROM tenant WHERE program IS NOT NULL "
                "UNION SELECT digest FROM tenant_program)"
            )
            self._programs = {digest for (digest,) in cursor.execute("SELECT digest FROM program")}

    def close(self) -> None:
        """Lets go of the file; safe to repeat."""
        self._file.close()


def _write_policy(policy: TenantPolicy) -> str:
    guest = policy.guest_limits
    return json.dumps(
        {
            "guest_limits": None if guest is None else asdict(guest),
            "limits": asdict(policy.limits),
            "priority": policy.priority,
            "weight": policy.weight,
            "reads_tensors": policy.reads_tensors,
        }
    )


def _read_policy(text: str, program: bytes | None, programs: Mapping[str, bytes]) -> TenantPolicy:
    fields = json.loads(text)
    guest = fields.pop("guest_limits")
    limits = TenantLimits(**fields.pop("limits"))
    own = None if guest is None else GuestLimits(**guest)
    return TenantPolicy(
        program=program, guest_limits=own, limits=limits, programs=programs, **fields
    )


def _plain(config: ModelConfig) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in asdict(config).items()
    }
