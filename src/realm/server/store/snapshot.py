"""All that the store holds, read at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from realm.server.definitions import Item, Key, Tenant

KINDS = ("adapter", "program", "draft")


@dataclass(frozen=True, slots=True)
class StoredKey:
    """digest: SHA-256 of the secret, 32 bytes."""

    key: Key
    digest: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """revision: another one after every write. items: by kind, every kind is there; everyone's
    first, then those of tenants, each by name."""

    revision: int
    tenants: tuple[Tenant, ...]
    keys: tuple[StoredKey, ...]
    items: Mapping[str, tuple[Item, ...]]
