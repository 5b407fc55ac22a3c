"""What the host keeps of one running guest: its handles, its counters, its last error, its output.

Lives and dies with one request, on the engine thread. Handles are numbers of this guest only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from realm.errors import RealmError
from realm.runtime.contract import ErrorCode
from realm.runtime.guest_memory import GuestMemory
from realm.runtime.host_call import HostCallError
from realm.runtime.hosted_model import HostedModel
from realm.runtime.limits import GuestLimits
from realm.session import Piece

if TYPE_CHECKING:
    from realm.config import GenerationOptions
    from realm.engine import Engine, TokenLogprobs
    from realm.session import InferenceSession
    from realm.session.constraint import Constraint

T = TypeVar("T")


class HandleTable(Generic[T]):
    """Numbers from 1 on for the things that one guest holds; a number is never used twice."""

    def __init__(self, kind: str, capacity: int) -> None:
        self._kind = kind
        self._capacity = capacity
        self._entries: dict[int, T] = {}
        self._next = 1

    def add(self, entry: T) -> int:
        """Raises HostCallError(LIMIT) when too many are open."""
        self.require_room()
        handle = self._next
        self._next += 1
        self._entries[handle] = entry
        return handle

    def require_room(self) -> None:
        """Raises as `add` would."""
        if len(self._entries) >= self._capacity:
            raise HostCallError(
                ErrorCode.LIMIT,
                f"{self._capacity} {self._kind} handles are open, no more are allowed",
            )

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
    """A guest's hold on a model; `layer_sequence` is its scratch for realm_forward_layer."""

    model: HostedModel
    layer_sequence: int | None = None


@dataclass(slots=True)
class SessionHandle:
    """An open session; the ids given to it and the ids that it generated since.

    logprobs: one for each of token_ids, None for those that the program chose itself.
    constraint: what its sampled and accepted tokens must satisfy; constrained_positions: where
    the tokens stand that the constraint has moved on by.
    """

    model: HostedModel
    sequence: int
    prompt_token_ids: list[int] = field(default_factory=list)
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs | None] = field(default_factory=list)
    constraint: Constraint | None = None
    constrained_positions: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a guest's host functions may reach.

    models: the tenant's allow-list by name. put_piece: False when the client must take some first.
    seed: what realm_random is derived from. now: seconds, monotonic. log: (level, text).
    constraint_for: a new one of the request for a model; None when the request has none.
    """

    engine: Engine
    models: Mapping[str, HostedModel]
    tenant_id: str
    options: GenerationOptions
    limits: GuestLimits
    put_piece: Callable[[Piece], bool]
    heard_token: Callable[[], None]
    log: Callable[[int, str], None]
    now: Callable[[], float]
    seed: bytes
    make_session: Callable[[HostedModel, list[int], GenerationOptions], InferenceSession]
    constraint_for: Callable[[HostedModel], Constraint | None] = lambda _model: None


class GuestState:
    """See the module."""

    def __init__(self, surroundings: Surroundings, memory: GuestMemory) -> None:
        limits = surroundings.limits
        self.surroundings = surroundings
        self.memory = memory
        self.models: HandleTable[ModelHandle] = HandleTable("model", limits.models)
        self.sessions: HandleTable[SessionHandle] = HandleTable("session", limits.sessions)
        self.first_session: SessionHandle | None = None
        self.host_session: InferenceSession | None = None
        self.response: bytes | None = None
        self.last_error = ""
        self.last_exception: RealmError | None = None
        self.last_code: ErrorCode | None = None
        self.last_size = 0
        self.untold_token_ids: list[int] = []
        self.untold_logprobs: list[TokenLogprobs] = []
        self._output_bytes = 0
        self._log_bytes = 0
        self._random_calls = 0
        self._started = surroundings.now()

    def elapsed_milliseconds(self) -> int:
        return int((self.surroundings.now() - self._started) * 1000)

    def count_output(self, size: int) -> None:
        """Raises HostCallError(LIMIT)."""
        self._output_bytes = self._count(
            self._output_bytes, size, self.surroundings.limits.output_bytes, "output"
        )

    def count_log(self, size: int) -> None:
        """Raises HostCallError(LIMIT)."""
        self._log_bytes = self._count(
            self._log_bytes, size, self.surroundings.limits.log_bytes, "log"
        )

    def random_bytes(self, length: int) -> bytes:
        """The next bytes of this guest's own stream."""
        self._random_calls += 1
        source = self.surroundings.seed + self._random_calls.to_bytes(8, "little")
        return hashlib.shake_256(source).digest(length)

    def tokens_generated(
        self,
        session: SessionHandle,
        token_ids: list[int],
        logprobs: Sequence[TokenLogprobs] = (),
    ) -> None:
        """Records ids that became part of a session after its prompt."""
        session.logprobs += [None] * (len(session.token_ids) - len(session.logprobs))
        session.token_ids.extend(token_ids)
        session.logprobs.extend(logprobs)
        if session is self.first_session:
            self.untold_token_ids.extend(token_ids)
            self.untold_logprobs.extend(logprobs)

    def close_host_session(self) -> None:
        """Ends a generation of realm_host_generate, if one is there."""
        if self.host_session is not None:
            self.host_session.close()
            self.host_session = None

    def close(self) -> None:
        """Gives back everything the guest still holds of the engine."""
        engine = self.surroundings.engine
        self.close_host_session()
        for session in self.sessions.values():
            engine.close(session.sequence)
        for handle in self.models.values():
            if handle.layer_sequence is not None:
                engine.close(handle.layer_sequence)

    @staticmethod
    def _count(used: int, more: int, limit: int, name: str) -> int:
        if used + more > limit:
            raise HostCallError(ErrorCode.LIMIT, f"more than {limit} bytes of {name}")
        return used + more
