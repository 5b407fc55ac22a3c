"""What the front asks of the engine process, as its handlers see it.

Every method is for the event loop's thread. Errors arrive as the classes of realm.errors that they
were raised as in the engine process; EngineUnavailableError when it is not there, or was lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from realm.server.definitions import Item, Tenant
from realm.server.wire.messages import Embedded, Figures, Finished, Piece


@dataclass(frozen=True, slots=True)
class GenerateCall:
    """One generation, as in `wire.messages.Generate`. Exactly one of prompt, messages and
    token_ids is given."""

    tenant_id: str
    model: str
    prompt: str | None = None
    messages: Sequence[dict[str, Any]] | None = None
    token_ids: Sequence[int] | None = None
    adapters: Sequence[tuple[str, float]] | None = None
    program: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    wants_pieces: bool = True


class Generation(Protocol):
    """A generation that runs. Iterating gives its pieces, then ends or raises its error."""

    def __aiter__(self) -> AsyncIterator[Piece]:
        """Pieces as they come; none when they were not wanted."""

    async def result(self) -> Finished:
        """The whole, once it has ended; pieces that nobody takes are dropped. Raises its error."""

    def cancel(self) -> None:
        """The client has gone: the engine frees its sequence within one step. Safe to repeat, and
        after the end."""


class EnginePort(Protocol):
    """The engine process, whichever it is now: one that died is replaced by another."""

    @property
    def is_ready(self) -> bool:
        """Whether it is there and knows all tenants."""

    def generate(self, call: GenerateCall) -> Generation:
        """Raises EngineUnavailableError; whatever else is wrong, the generation raises."""

    async def embed(
        self, tenant_id: str, model: str, inputs: Sequence[str | list[int]], pooling: str
    ) -> Embedded:
        """Vectors of texts or token ids. Raises the engine's error."""

    async def figures(self) -> Figures:
        """The engine's figures now."""

    async def put_tenant(self, tenant: Tenant) -> None:
        """A tenant is new or has changed."""

    async def remove_tenant(self, tenant_id: str) -> None:
        """A tenant is gone; its requests end."""

    async def put_item(self, kind: str, item: Item) -> None:
        """An adapter, program or draft. Raises the error of what cannot be used."""

    async def remove_item(self, kind: str, name: str, tenant_id: str | None) -> None:
        """A name of one is gone."""
