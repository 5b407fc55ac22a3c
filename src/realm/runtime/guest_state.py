"""What the host keeps of one running guest: its handles, its counters, its last error, its output.

Lives and dies with one request, on the engine thread. Handles are numbers of this guest only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realm.errors import RealmError
from realm.kernels import PAGE_TOKENS
from realm.runtime.contract import ErrorCode
from realm.runtime.guest_memory import GuestMemory
from realm.runtime.handles import HandleTable, ModelHandle, SessionHandle
from realm.runtime.host_call import HostCallError
from realm.runtime.hosted_model import HostedModel
from realm.runtime.limits import GuestLimits
from realm.session import Piece

if TYPE_CHECKING:
    from realm.config import GenerationOptions
    from realm.engine import Engine, TokenLogprobs
    from realm.runtime import _guest
    from realm.runtime.held_adapters import HeldAdapters, RequestAdapters
    from realm.runtime.request_constraint import RequestConstraint
    from realm.runtime.services import TenantServices
    from realm.runtime.workers import Work
    from realm.session import InferenceSession
    from realm.session.constraint import Constraint


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a guest's host functions may reach.

    models: the tenant's allow-list by name. put_piece: False when the client must take some first.
    has_room: whether the next put_piece will not be refused.
    adapters: the tenant's. seed: what realm_random is derived from. now: seconds, monotonic.
    log: (level, text).
    constraint: the request's own. services: what the tenant shares. wake: any thread may call it,
    when something that the guest waits for outside of the engine may be there.
    """

    engine: Engine
    models: Mapping[str, HostedModel]
    tenant_id: str
    options: GenerationOptions
    limits: GuestLimits
    put_piece: Callable[[Piece], bool]
    log: Callable[[int, str], None]
    now: Callable[[], float]
    seed: bytes
    make_session: Callable[
        [ModelHandle, list[int], GenerationOptions, Constraint | None], InferenceSession
    ]
    adapters: RequestAdapters
    constraint: RequestConstraint
    services: TenantServices
    wake: Callable[[], None]
    has_room: Callable[[], bool] = _never


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
        self.native: _guest.Guest | None = None  # of a guest whose calls may be answered at once
        self.untold_token_ids: list[int] = []
        self.untold_logprobs: list[TokenLogprobs] = []
        self.work: Work[Any] | None = None
        self.loading: HeldAdapters | None = None
        self.kept: tuple[Hashable, bytes] | None = None
        self._tokens = 0
        self._layer_rows = 0
        self._reserved_model_bytes = 0
        self._host_pages = 0
        self._host_page_bytes = 0
        self._output_bytes = 0
        self._log_bytes = 0
        self._random_calls = 0
        self._started = surroundings.now()
        self._output_limit = limits.output_bytes
        self._has_room = surroundings.has_room

    def elapsed_milliseconds(self) -> int:
        return int((self.surroundings.now() - self._started) * 1000)

    def count_output(self, size: int) -> None:
        """Raises HostCallError(LIMIT)."""
        self._output_bytes = self._count(
            self._output_bytes, size, self.surroundings.limits.output_bytes, "output"
        )

    def output_room(self) -> int:
        """Bytes of output that may still come; 0 while the client must take some first."""
        return self._output_limit - self._output_bytes if self._has_room() else 0

    def hear(self, size: int, text: str | None, text_bytes: int) -> None:
        """Keeps account of calls that were answered on the guest's own stack."""
        if size >= 0:
            self.last_size = size
        if text is not None:
            self._output_bytes += text_bytes  # no more than `output_room` found
            self.put_text(text)

    def put_text(self, text: str) -> bool:
        """Text for the client, with the tokens that belong to it; False when there is no room."""
        piece = Piece(text, tuple(self.untold_token_ids), tuple(self.untold_logprobs))
        if not self.surroundings.put_piece(piece):
            return False
        self.untold_token_ids.clear()
        self.untold_logprobs.clear()
        return True

    def count_log(self, size: int) -> None:
        """Raises HostCallError(LIMIT)."""
        self._log_bytes = self._count(
            self._log_bytes, size, self.surroundings.limits.log_bytes, "log"
        )

    def count_tokens(self, count: int) -> None:
        """Raises HostCallError(LIMIT)."""
        limit = self.surroundings.limits.tokens
        if self._tokens + count > limit:
            raise HostCallError(ErrorCode.LIMIT, f"more than {limit} tokens in one request")
        self._tokens += count

    def count_layer_rows(self, rows: int, layer_count: int) -> None:
        """Rows of single layers, as tokens of all. Raises HostCallError(LIMIT)."""
        before = self._layer_rows // layer_count
        self.count_tokens((self._layer_rows + rows) // layer_count - before)
        self._layer_rows += rows

    def random_bytes(self, length: int) -> bytes:
        """The next bytes of this guest's own stream."""
        self._random_calls += 1
        source = self.surroundings.seed + self._random_calls.to_bytes(8, "little")
        return hashlib.shake_256(source).digest(length)

    def tokens_generated(
        self,
        session: SessionHandle,
        token_ids: Sequence[int],
        logprobs: Sequence[TokenLogprobs] = (),
    ) -> None:
        """Records ids that became part of a session after its prompt."""
        is_first = session is self.first_session
        if logprobs:
            session.logprobs += [None] * (len(session.token_ids) - len(session.logprobs))
            session.logprobs += logprobs
            if is_first:
                self.untold_logprobs += logprobs
        session.token_ids += token_ids
        if is_first:
            self.untold_token_ids += token_ids

    def reserve_model(self, size: int) -> None:
        """Bytes of a model that is about to be stored. Raises HostCallError(LIMIT)."""
        self.surroundings.services.account.take_model_bytes(size)
        self._reserved_model_bytes = size

    def take_reserved_model(self) -> int:
        """The reserved bytes, which the caller gives back to the account from now on."""
        size, self._reserved_model_bytes = self._reserved_model_bytes, 0
        return size

    def put_or_keep(self, call: Hashable, result: bytes, pointer: int, room: int) -> int:
        """Writes what a call brought, or keeps it for the same call with more room.

        Raises HostCallError(BUFFER), the size left in `last_size`.
        """
        self.last_size = len(result)
        if len(result) > room:
            self.kept = (call, result)
            raise HostCallError(ErrorCode.BUFFER, f"{len(result)} bytes do not fit in {room}")
        self.memory.write(pointer, result)
        return len(result)

    def take_kept(self, call: Hashable) -> bytes | None:
        """What the same call brought and found no room; whatever is kept is gone then."""
        kept, self.kept = self.kept, None
        return kept[1] if kept is not None and kept[0] == call else None

    def size_session(self, session: SessionHandle, token_count: int) -> None:
        """Counts the cache pages of a session of so many tokens. Raises HostCallError(CAPACITY)."""
        pages = -(-token_count // PAGE_TOKENS)
        if pages != session.page_count:
            account = self.surroundings.services.account
            account.take_pages(pages - session.page_count, session.model.page_bytes)
            session.page_count = pages

    def size_layers(self, handle: ModelHandle, token_count: int) -> None:
        """As `size_session`, for the cache of realm_forward_layer, which never shrinks."""
        pages = -(-token_count // PAGE_TOKENS)
        if pages > handle.layer_pages:
            account = self.surroundings.services.account
            account.take_pages(pages - handle.layer_pages, handle.model.page_bytes)
            handle.layer_pages = pages

    def open_host_session(
        self, model: HostedModel, token_count: int, make: Callable[[], InferenceSession]
    ) -> InferenceSession:
        """The session of a realm_host_generate of so many tokens at most, in place of the last."""
        self.close_host_session()
        pages = -(-token_count // PAGE_TOKENS)
        account = self.surroundings.services.account
        account.take_pages(pages, model.page_bytes)
        self._host_pages, self._host_page_bytes = pages, model.page_bytes
        self.host_session = make()
        return self.host_session

    def close_host_session(self) -> None:
        """Ends a generation of realm_host_generate, if one is there."""
        pages, self._host_pages = self._host_pages, 0
        self.surroundings.services.account.take_pages(-pages, self._host_page_bytes)
        if self.host_session is not None:
            self.host_session.close()
            self.host_session = None

    def close_session(self, session: SessionHandle) -> None:
        """Gives back what a session holds; it is in no table any more."""
        self.surroundings.engine.close(session.sequence)
        self.size_session(session, 0)
        if session.hold is not None:
            session.hold.drop()
        if session.adapters is not None:
            session.adapters.drop()

    def close_model(self, handle: ModelHandle) -> None:
        """Gives back what a handle of a model holds; it is in no table any more."""
        self.close_layers(handle)
        if handle.hold is not None:
            handle.hold.drop()
        if handle.adapters is not None:
            handle.adapters.drop()

    def close_layers(self, handle: ModelHandle) -> None:
        """Gives back what realm_forward_layer has cached, if it was called."""
        if handle.layer_sequence is None:
            return
        self.surroundings.engine.close(handle.layer_sequence)
        account = self.surroundings.services.account
        account.take_pages(-handle.layer_pages, handle.model.page_bytes)
        handle.layer_sequence, handle.layer_pages = None, 0

    def close(self) -> None:
        """Gives back everything the guest still holds of the engine."""
        if self.work is not None:
            self.work.abandon()
        if self.loading is not None:
            self.loading.drop()
        self.surroundings.services.account.take_model_bytes(-self.take_reserved_model())
        self.close_host_session()
        for session in self.sessions.values():
            self.close_session(session)
        for handle in self.models.values():
            self.close_model(handle)

    @staticmethod
    def _count(used: int, more: int, limit: int, name: str) -> int:
        if used + more > limit:
            raise HostCallError(ErrorCode.LIMIT, f"more than {limit} bytes of {name}")
        return used + more
