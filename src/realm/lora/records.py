"""The records that the adapters' ledger and its manager speak in. Data only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from realm.errors import AdapterError
from realm.lora.source import AdapterSource
from realm.lora.use import AdapterUse, Packed


class ContentKey(NamedTuple):
    """Which content: the base's key and the adapter's digest."""

    base: str
    digest: bytes


@dataclass(slots=True, eq=False)
class Version:
    """What a name meant from one `add` to the next. known: content and packed bytes by base."""

    tenant: str | None
    name: str
    number: int
    source: AdapterSource
    is_current: bool = True
    known: dict[str, tuple[ContentKey, int]] = field(default_factory=dict)
    user_count: int = 0
    waiting_count: int = 0
    load_count: int = 0
    eviction_count: int = 0
    use_count: int = 0
    wait_seconds: float = 0.0


class Load(NamedTuple):
    """A version to be read and packed for a base."""

    version: Version
    base: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A use that has its adapter now."""

    use: AdapterUse
    packed: Packed


@dataclass(frozen=True, slots=True)
class Refusal:
    """A use that will never have it."""

    use: AdapterUse
    error: AdapterError


@dataclass(frozen=True, slots=True)
class Actions:
    """What is to be done, outside of the books, in any order."""

    grants: tuple[Grant, ...]
    refusals: tuple[Refusal, ...]
    loads: tuple[Load, ...]
