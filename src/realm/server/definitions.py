"""Tenants and what belongs to them, as they are kept, administered and told to the engine.

Plain data: JSON of the admin API, rows of the store and parts of the wire's messages alike. Names
are checked here, once for all of them.
"""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

TenantId = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
"""Also fits into a label of a metric and a line of a log."""

ItemName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")]
"""Of a model, an adapter, a program or a draft: no ':' and no '/', so that `model:adapter` and
paths of the API are never ambiguous."""

Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 40)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
Weight = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
Priority = Annotated[int, msgspec.Meta(ge=-1000, le=1000)]

_TENANT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a tenant may use; None leaves it to the server's own limit, or to none.

    requests_per_minute, tokens_per_minute: prompt and answer together. concurrent_requests: at
    once; more are refused. max_tokens: of one answer. memory_bytes, compute_seconds, wall_seconds,
    output_bytes: of one request's program, as in GuestLimits. cache_bytes: of all its sessions.
    """

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrent_requests: Count | None = None
    max_tokens: Count | None = None
    memory_bytes: Count | None = None
    compute_seconds: Seconds | None = None
    wall_seconds: Seconds | None = None
    output_bytes: Count | None = None
    cache_bytes: Count | None = None


class Tenant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """models: names of those that it may use; None for all. adapter: what its requests take when
    they name none. program: the name of its program, its own or everyone's; None for the default
    one. drafts: by the model's name, the name of the draft model that drafts for it. weight,
    priority: as in TenantPolicy.
    """

    tenant_id: TenantId
    models: tuple[ItemName, ...] | None = None
    adapter: ItemName | None = None
    program: ItemName | None = None
    drafts: dict[ItemName, ItemName] = {}
    limits: Limits = Limits()
    weight: Weight = 1.0
    priority: Priority = 0
    is_enabled: bool = True


class Key(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a key. tenant_id: None for an admin key. prefix: its first characters, by
    which it is found and named. Times are seconds since 1970, UTC; expires_at None for never.
    """

    prefix: str
    tenant_id: str | None
    created_at: float
    expires_at: float | None = None
    is_enabled: bool = True
    note: str = ""


class Item(msgspec.Struct, frozen=True, omit_defaults=True):
    """An uploaded adapter, program or draft. tenant_id: whose name it is; None makes it every
    tenant's. digest: SHA-256 of its content, hexadecimal. path: where the content lies on this
    machine, never told to clients.
    """

    name: ItemName
    tenant_id: str | None
    digest: str
    size_bytes: int
    path: str


class Model(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model that the server serves. path, draft_path: GGUF files on this machine."""

    name: ItemName
    path: str
    draft_path: str | None = None


def is_tenant_id(text: str) -> bool:
    """Whether a tenant may be called so."""
    return _TENANT_ID.fullmatch(text) is not None
