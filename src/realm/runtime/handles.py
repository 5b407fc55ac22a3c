"""The numbers that a guest holds, and what stands behind each: models and sessions.

A number means something to its own guest only. Lives on the engine thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from realm.runtime.contract import ErrorCode
from realm.runtime.host_call import HostCallError
from realm.runtime.hosted_model import HostedModel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realm.config import SamplingParameters
    from realm.engine import TokenLogprobs
    from realm.runtime.guest_models import ModelHold
    from realm.runtime.held_adapters import HeldAdapters
    from realm.session.constraint import Constraint

T = TypeVar("T")
_LARGEST = (1 << 31) - 1


class HandleTable(Generic[T]):
    """Numbers from 1 on for the things that one guest holds; none is given twice by the host."""

    def __init__(self, kind: str, capacity: int) -> None:
        self._kind = kind
        self._capacity = capacity
        self._entries: dict[int, T] = {}
        self._chosen: set[int] = set()
        self._next = 1

    def add(self, entry: T, chosen: int = 0) -> int:
        """The handle; `chosen` is a number that the guest wants, 0 for any.

        Raises HostCallError(LIMIT) when too many are open, and as `require_free` does.
        """
        self.require_room()
        if chosen:
            self.require_free(chosen)
            self._chosen.add(chosen)
            self._entries[chosen] = entry
            return chosen
        while self._next in self._chosen:
            self._next += 1
        handle = self._next
        self._next += 1
        self._entries[handle] = entry
        return handle

    def require_room(self) -> None:
        """Raises HostCallError(LIMIT) when no more may be open."""
        if len(self._entries) >= self._capacity or self._next > _LARGEST:
            raise HostCallError(
                ErrorCode.LIMIT,
                f"{self._capacity} {self._kind} handles are open, no more are allowed",
            )

    def require_free(self, chosen: int) -> None:
        """Raises HostCallError(INVALID) for what is no handle, STATE for one that is taken."""
        if chosen < 0:
            raise HostCallError(ErrorCode.INVALID, f"{chosen} is not a handle")
        if chosen in self._entries:
            raise HostCallError(ErrorCode.STATE, f"{self._kind} handle {chosen} is taken")

    def get(self, handle: int) -> T:
        """Raises HostCallError(HANDLE)."""
        if handle not in self._entries:
            raise HostCallError(ErrorCode.HANDLE, f"no {self._kind} handle {handle}")
        return self._entries[handle]

    def remove(self, handle: int) -> T:
        """Raises HostCallError(HANDLE)."""
        entry = self.get(handle)
        del self._entries[handle]
        return entry

    def values(self) -> list[T]:
        return list(self._entries.values())


@dataclass(slots=True)
class ModelHandle:
    """A guest's hold on a model; `layer_sequence` is its scratch for realm_forward_layer.

    hold: of a model that the guest stored itself. adapters: of sessions opened from now on.
    """

    model: HostedModel
    layer_sequence: int | None = None
    layer_pages: int = 0
    hold: ModelHold | None = None
    adapters: HeldAdapters | None = None


@dataclass(slots=True)
class SessionRule:
    """A constraint on a session's tokens, and where those stand that it has moved on by."""

    constraint: Constraint
    positions: list[int] = field(default_factory=list)

    def copy(self) -> SessionRule:
        return SessionRule(self.constraint.copy(), list(self.positions))

    def accept(self, first: int, ids: Sequence[int]) -> None:
        """Tokens have been added at `first` and after. Raises ConstraintError."""
        for position, token in enumerate(ids, first):
            before = self.constraint.accepted
            self.constraint.accept(token)
            if self.constraint.accepted > before:
                self.positions.append(position)

    def rewind(self, position: int) -> None:
        """The tokens from `position` on are gone."""
        kept = [place for place in self.positions if place < position]
        self.constraint.rewind(len(kept))
        self.positions = kept


@dataclass(slots=True)
class SessionHandle:
    """An open session; the ids given to it and the ids that it generated since.

    logprobs: one for each of token_ids up to the last that has any, None for those that the program
    chose itself.
    request_rule, own_rule: what its sampled and accepted tokens must satisfy; of the request, and
    of the program. mask: the tokens that the program allows the next sample. gave_logits: those
    after its last token. drawn: where the last token was drawn and how, unless by a mask; None once
    other tokens were added.
    """

    model: HostedModel
    sequence: int
    prompt_token_ids: list[int] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs | None] = field(default_factory=list)
    request_rule: SessionRule | None = None
    own_rule: SessionRule | None = None
    mask: npt.NDArray[np.uint32] | None = None
    page_count: int = 0
    hold: ModelHold | None = None
    adapters: HeldAdapters | None = None
    gave_logits: bool = False
    drawn: tuple[int, SamplingParameters] | None = None

    def rules(self) -> list[SessionRule]:
        """Those that it has."""
        return [each for each in (self.request_rule, self.own_rule) if each is not None]

    def allowed(self) -> npt.NDArray[np.uint32] | None:
        """What the next token may be: a bit for each token; None for anything."""
        if self.mask is None and self.request_rule is None and self.own_rule is None:
            return None
        masks = [rule.constraint.allowed() for rule in self.rules()]
        if self.mask is not None:
            masks.append(self.mask)
        together = masks[0]
        for each in masks[1:]:
            together = together & each
        return together

    def allowed_after(self, token_ids: Sequence[int]) -> list[npt.NDArray[np.uint32]]:
        """What may come after each of these tokens, up to the first that its rules forbid."""
        parts = [rule.constraint.allowed_after(token_ids) for rule in self.rules()]
        return [np.bitwise_and.reduce(masks) for masks in zip(*parts, strict=False)]

    def fork(self, sequence: int) -> SessionHandle:
        """The same, for a sequence that is a fork of this one's."""
        return SessionHandle(
            self.model,
            sequence,
            list(self.prompt_token_ids),
            list(self.token_ids),
            list(self.logprobs),
            None if self.request_rule is None else self.request_rule.copy(),
            None if self.own_rule is None else self.own_rule.copy(),
            self.mask,
            hold=self.hold,
            adapters=None if self.adapters is None else self.adapters.take(),
        )
