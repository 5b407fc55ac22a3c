"""What tenants keep from request to request: small values under keys, bounded in count and bytes.

One tenant's keys are never another's. Values are copies; nothing here reads them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from realm.runtime.state_file import StateFile

_TABLES = (
    "CREATE TABLE IF NOT EXISTS state (tenant TEXT NOT NULL, key BLOB NOT NULL, "
    "value BLOB NOT NULL, PRIMARY KEY (tenant, key)) WITHOUT ROWID",
)


@dataclass(frozen=True, slots=True)
class StateLimits:
    """Of one tenant. entries: keys. bytes: of all keys and values together."""

    entries: int
    bytes: int


class StateStore(Protocol):
    """Any thread. is_immediate: whether it answers without touching a disk."""

    is_immediate: bool

    def get(self, tenant_id: str, key: bytes) -> bytes | None:
        """The value, or None."""

    def put(self, tenant_id: str, key: bytes, value: bytes, limits: StateLimits) -> bool:
        """Sets it, or removes the key when the value is empty; whether it is within the limits."""

    def forget(self, tenant_id: str) -> None:
        """Removes all that a tenant keeps."""

    def close(self) -> None:
        """Lets go of what it holds open; safe to repeat."""


class MemoryStateStore:
    """Lives as long as the process."""

    is_immediate = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, dict[bytes, bytes]] = {}
        self._sizes: dict[str, int] = {}

    def get(self, tenant_id: str, key: bytes) -> bytes | None:
        """See `StateStore`."""
        return self._values.get(tenant_id, {}).get(key)

    def put(self, tenant_id: str, key: bytes, value: bytes, limits: StateLimits) -> bool:
        """See `StateStore`."""
        with self._lock:
            values = self._values.setdefault(tenant_id, {})
            old = values.get(key)
            before = self._sizes.get(tenant_id, 0)
            count, size = _after(len(values), before, key, old, value)
            if value and not _fits(count, size, before, limits):
                return False
            self._sizes[tenant_id] = size
            if value:
                values[key] = value
            else:
                values.pop(key, None)
            return True

    def forget(self, tenant_id: str) -> None:
        """See `StateStore`."""
        with self._lock:
            self._values.pop(tenant_id, None)
            self._sizes.pop(tenant_id, None)

    def close(self) -> None:
        """See `StateStore`."""


class FileStateStore:
    """One SQLite file, in use by one process at a time. A value that was put survives a crash."""

    is_immediate = False

    def __init__(self, path: str | Path) -> None:
        """Raises ConfigError when the file cannot be opened or is something else."""
        self._file = StateFile(path, "the state store", _TABLES)

    def get(self, tenant_id: str, key: bytes) -> bytes | None:
        """See `StateStore`. Raises StateStoreError when the file cannot be read."""
        with self._file.cursor() as cursor:
            row = cursor.execute(
                "SELECT value FROM state WHERE tenant = ? AND key = ?", (tenant_id, key)
            ).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, tenant_id: str, key: bytes, value: bytes, limits: StateLimits) -> bool:
        """See `StateStore`. Raises StateStoreError when the file cannot be written."""
        with self._file.cursor() as cursor:
            if not value:
                cursor.execute("DELETE FROM state WHERE tenant = ? AND key = ?", (tenant_id, key))
                return True
            before_count, before = cursor.execute(
                "SELECT count(*), coalesce(sum(length(key) + length(value)), 0) FROM state "
                "WHERE tenant = ?",
                (tenant_id,),
            ).fetchone()
            old = cursor.execute(
                "SELECT value FROM state WHERE tenant = ? AND key = ?", (tenant_id, key)
            ).fetchone()
            count, size = _after(before_count, before, key, None if old is None else old[0], value)
            if not _fits(count, size, before, limits):
                return False
            cursor.execute(
                "INSERT INTO state VALUES (?, ?, ?) "
                "ON CONFLICT (tenant, key) DO UPDATE SET value = excluded.value",
                (tenant_id, key, value),
            )
            return True

    def forget(self, tenant_id: str) -> None:
        """See `StateStore`. Raises StateStoreError when the file cannot be written."""
        with self._file.cursor() as cursor:
            cursor.execute("DELETE FROM state WHERE tenant = ?", (tenant_id,))

    def close(self) -> None:
        """See `StateStore`."""
        self._file.close()


def _after(count: int, size: int, key: bytes, old: bytes | None, value: bytes) -> tuple[int, int]:
    """Entries and bytes once the value is there (or gone, when it is empty)."""
    if old is not None:
        count, size = count - 1, size - len(key) - len(old)
    if value:
        count, size = count + 1, size + len(key) + len(value)
    return count, size


def _fits(count: int, size: int, before: int, limits: StateLimits) -> bool:
    # What shrinks is always allowed, also when the limits have been lowered meanwhile.
    return size <= before or (count <= limits.entries and size <= limits.bytes)
