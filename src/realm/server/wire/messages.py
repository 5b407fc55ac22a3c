"""The messages between front and engine process, MessagePack arrays with a tag.

The front numbers its requests; every answer carries its request's number. Pieces of all requests
that a step gave text to travel in one message, so that a step costs one wake-up on either side.
"""

from __future__ import annotations

from typing import Any

import msgspec

from realm.server.definitions import Item, Model, Tenant

PROTOCOL_VERSION = 1
PIECE_CREDIT = 256
"""Pieces of one request that may be on their way; the front gives credit back as it takes them."""


class Generate(msgspec.Struct, tag="generate", array_like=True, frozen=True):
    """One generation. Exactly one of prompt, messages and token_ids is given.

    adapters: names with weights; None takes the tenant's own. program: a name; None takes the
    tenant's. options: keywords of TenantRuntime.generate. wants_pieces: whether text is sent as it
    comes, or only the result.
    """

    number: int
    tenant_id: str
    model: str
    prompt: str | None
    messages: list[dict[str, Any]] | None
    token_ids: list[int] | None
    adapters: list[tuple[str, float]] | None
    program: str | None
    options: dict[str, Any]
    wants_pieces: bool


class Cancel(msgspec.Struct, tag="cancel", array_like=True, frozen=True):
    """The client has gone. Nothing happens when the request has ended."""

    number: int


class Credit(msgspec.Struct, tag="credit", array_like=True, frozen=True):
    """The front has taken so many pieces of a request."""

    number: int
    pieces: int


class Embed(msgspec.Struct, tag="embed", array_like=True, frozen=True):
    """Vectors of texts or token ids."""

    number: int
    tenant_id: str
    model: str
    inputs: list[str | list[int]]
    pooling: str


class Configure(msgspec.Struct, tag="configure", array_like=True, frozen=True):
    """All that the engine process is to know, once after connecting. The first message."""

    number: int
    version: int
    models: list[Model]
    tenants: list[Tenant]
    adapters: list[Item]
    programs: list[Item]
    drafts: list[Item]


class PutTenant(msgspec.Struct, tag="put-tenant", array_like=True, frozen=True):
    """A tenant is new or has changed; its next request sees it."""

    number: int
    tenant: Tenant


class RemoveTenant(msgspec.Struct, tag="remove-tenant", array_like=True, frozen=True):
    """A tenant is gone with all that is known of it."""

    number: int
    tenant_id: str


class PutItem(msgspec.Struct, tag="put-item", array_like=True, frozen=True):
    """An adapter, program or draft is new or replaced. kind: 'adapter', 'program' or 'draft'.

    Answered with Failed when it cannot be used; then the name means what it meant before.
    """

    number: int
    kind: str
    item: Item


class RemoveItem(msgspec.Struct, tag="remove-item", array_like=True, frozen=True):
    """A name of an adapter, program or draft is gone."""

    number: int
    kind: str
    name: str
    tenant_id: str | None


class AskFigures(msgspec.Struct, tag="ask-figures", array_like=True, frozen=True):
    """Answered with Figures by the engine's own thread, so that the answer proves that it goes on.
    of_tenants: whether figures of tenants are wanted too."""

    number: int
    of_tenants: bool = True


class TokenLogprob(msgspec.Struct, array_like=True, frozen=True):
    """One token with its log probability. data: the bytes of its text. top: the most likely tokens,
    each as (token id, bytes, log probability)."""

    token_id: int
    data: bytes
    logprob: float
    top: list[tuple[int, bytes, float]]


class Piece(msgspec.Struct, array_like=True, frozen=True):
    """Text of one request. logprobs: one for each token, when they were asked for."""

    number: int
    text: str
    token_ids: list[int]
    logprobs: list[TokenLogprob] | None = None


class Pieces(msgspec.Struct, tag="pieces", array_like=True, frozen=True):
    """What a step gave to all requests."""

    pieces: list[Piece]


class Finished(msgspec.Struct, tag="finished", array_like=True, frozen=True):
    """A generation has ended well. text: all of it. seconds: as in Timings, by name. response: of
    the program, if it gave one. logprobs: of each token that was sampled, when asked for."""

    number: int
    text: str
    token_ids: list[int]
    prompt_token_count: int
    finish_reason: str
    seconds: dict[str, float]
    response: bytes | None = None
    logprobs: list[TokenLogprob] | None = None


class Embedded(msgspec.Struct, tag="embedded", array_like=True, frozen=True):
    """vectors: float32, one row of `dimension` for each input."""

    number: int
    dimension: int
    vectors: bytes
    token_counts: list[int]


class Done(msgspec.Struct, tag="done", array_like=True, frozen=True):
    """What was asked for has happened."""

    number: int


class Failed(msgspec.Struct, tag="failed", array_like=True, frozen=True):
    """It has not. kind: the name of a class of realm.errors. retry_after_seconds: where the class
    has one."""

    number: int
    kind: str
    message: str
    retry_after_seconds: float | None = None


class Figures(msgspec.Struct, tag="figures", array_like=True, frozen=True):
    """The engine's figures now. tenants: those of TenantMetrics by tenant. engine: of the whole
    process, by name, such as resident_adapter_bytes, rows of the last steps, free pages."""

    number: int
    tenants: dict[str, dict[str, Any]]
    engine: dict[str, float]


Question = (
    Generate
    | Cancel
    | Credit
    | Embed
    | Configure
    | PutTenant
    | RemoveTenant
    | PutItem
    | RemoveItem
    | AskFigures
)
Answer = Pieces | Finished | Embedded | Done | Failed | Figures
