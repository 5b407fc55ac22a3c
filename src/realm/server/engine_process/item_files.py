"""Uploaded items by their names, and how a program's file is read."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TypeAlias

from realm.errors import GuestCompileError
from realm.server.definitions import Item

ItemKey: TypeAlias = tuple[str, str | None, str]
"""Kind, tenant or None for everyone's, name."""

KINDS = ("adapter", "program", "draft")


class Items:
    """Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: dict[tuple[str, str | None], dict[str, Item]] = {}
        self._versions: dict[str | None, int] = {}

    def get(self, key: ItemKey) -> Item | None:
        """What exactly this name means."""
        kind, tenant_id, name = key
        return self._groups.get((kind, tenant_id), {}).get(name)

    def put(self, key: ItemKey, item: Item) -> None:
        """The name means this from now on."""
        kind, tenant_id, name = key
        with self._lock:
            if self.get(key) != item:
                self._groups.setdefault((kind, tenant_id), {})[name] = item
                self._note_change(tenant_id)

    def remove(self, key: ItemKey) -> bool:
        """Whether the name meant something."""
        kind, tenant_id, name = key
        with self._lock:
            group = self._groups.get((kind, tenant_id), {})
            if group.pop(name, None) is None:
                return False
            if not group:
                del self._groups[kind, tenant_id]
            self._note_change(tenant_id)
            return True

    def find(self, kind: str, tenant_id: str, name: str) -> Item | None:
        """What the name means to the tenant: its own, else everyone's."""
        return self.get((kind, tenant_id, name)) or self.get((kind, None, name))

    def usable(self, kind: str, tenant_id: str) -> dict[str, Item]:
        """All that the tenant may name."""
        with self._lock:
            everyones = self._groups.get((kind, None), {})
            return {**everyones, **self._groups.get((kind, tenant_id), {})}

    def of_tenant(self, tenant_id: str) -> list[tuple[str, str]]:
        """Kind and name of all that is the tenant's own."""
        with self._lock:
            return [
                (kind, name) for kind in KINDS for name in self._groups.get((kind, tenant_id), ())
            ]

    def of_kind(self, kind: str) -> dict[ItemKey, Item]:
        """All of one kind."""
        with self._lock:
            return {
                (kind, tenant_id, name): item
                for (each, tenant_id), group in self._groups.items()
                if each == kind
                for name, item in group.items()
            }

    def version_of(self, tenant_id: str) -> int:
        """Another number whenever something changes that the tenant may name."""
        return self._versions.get(tenant_id, 0) + self._versions.get(None, 0)

    def _note_change(self, tenant_id: str | None) -> None:
        self._versions[tenant_id] = self._versions.get(tenant_id, 0) + 1


def read_program(item: Item) -> bytes:
    """The bytes of a program's file. Raises GuestCompileError."""
    try:
        return Path(item.path).read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise GuestCompileError(f"program {item.name!r} cannot be read: {reason}") from None
