"""Host functions on the bytes of models: storing one, and reading a tensor of one."""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt

from realm.errors import RealmError
from realm.model import DraftModel, StoredModel
from realm.runtime.contract import ErrorCode
from realm.runtime.guest_models import ModelHold
from realm.runtime.guest_state import GuestState
from realm.runtime.handles import ModelHandle
from realm.runtime.host_call import Answer, HostCallError, WaitForTurn
from realm.runtime.host_models import read_bounded_text
from realm.runtime.host_work import in_background
from realm.runtime.hosted_model import HostedModel
from realm.runtime.tenant_drafts import match_drafts

# A model, and if it is a draft what it drafts for, by content hash.
_Stored = tuple[HostedModel, "dict[str, DraftModel] | None"]

_WORD_BYTES = 4
_TURN_BYTES = 2 << 20  # copied in one turn, which takes less than a millisecond


def store_model(state: GuestState, gguf_ptr: int, gguf_len: int, model_id: int) -> Answer:
    return _store(state, gguf_ptr, gguf_len, model_id, None)


def store_draft_model(
    state: GuestState, gguf_ptr: int, gguf_len: int, draft_model_id: int
) -> Answer:
    targets = {each.stored for each in state.surroundings.models.values()}
    targets |= {each.model.stored for each in state.models.values()}
    return _store(state, gguf_ptr, gguf_len, draft_model_id, targets)


def _store(
    state: GuestState,
    gguf_ptr: int,
    gguf_len: int,
    model_id: int,
    targets: Collection[StoredModel] | None,
) -> Answer:
    """The handle of a model that the guest brings. targets: what it is to draft for, if it is."""
    services = state.surroundings.services
    state.memory.require(gguf_ptr, gguf_len)
    state.models.require_room()
    state.models.require_free(model_id)
    state.reserve_model(gguf_len)
    parts: list[bytes] = []

    def copy() -> Answer:
        done = sum(map(len, parts))
        parts.append(state.memory.read(gguf_ptr + done, min(_TURN_BYTES, gguf_len - done)))
        if done + len(parts[-1]) < gguf_len:
            return WaitForTurn(copy)
        return in_background(state, store, complete, discard=forget)

    def store() -> _Stored | RealmError:
        try:
            model = services.guest_models.store(parts)
        except RealmError as error:
            return error
        if targets is None:
            return model, None
        try:
            return model, match_drafts(targets, model.stored)
        except RealmError as error:
            services.guest_models.release(model)
            return error

    def complete(found: _Stored | RealmError) -> int:
        reserved = state.take_reserved_model()
        if isinstance(found, RealmError):
            services.account.take_model_bytes(-reserved)
            raise found
        model, drafts = found
        hold = ModelHold(_releaser(state, model, reserved))
        number = state.models.add(ModelHandle(model, hold=hold), model_id)
        if drafts is not None:
            services.drafts.bring(model.stored, hold, drafts)
        return number

    def forget(found: _Stored | RealmError) -> None:
        if not isinstance(found, RealmError):
            services.guest_models.release(found[0])

    return copy()


def get_tensor(  # noqa: PLR0917
    state: GuestState, model_id: int, name_ptr: int, name_len: int, out_ptr: int, out_max_len: int
) -> Answer:
    model = state.models.get(model_id).model
    state.memory.require(out_ptr, out_max_len * _WORD_BYTES)
    name = read_bounded_text(state, name_ptr, name_len)
    if not state.surroundings.services.reads_tensors:
        raise HostCallError(ErrorCode.DENIED, "this tenant may not read tensors")

    def complete(found: tuple[int, npt.NDArray[np.float32] | None]) -> int:
        count, values = found
        if count < 0:
            raise HostCallError(ErrorCode.NOT_FOUND, f"the model has no tensor {name!r}")
        state.last_size = count
        if values is None:
            raise HostCallError(ErrorCode.BUFFER, f"{count} values do not fit in {out_max_len}")
        state.memory.write(out_ptr, values)
        return count

    return in_background(state, lambda: model.tensors.read(name, out_max_len), complete)


def _releaser(state: GuestState, model: HostedModel, size: int) -> Callable[[], None]:
    """Must not hold the state: it is called after the guest's end, too."""
    services, owner = state.surroundings.services, state.surroundings.tenant_id

    def release() -> None:
        services.account.take_model_bytes(-size)
        services.workers.submit(owner, lambda: services.guest_models.release(model), _nothing)

    return release


def _nothing() -> None:
    pass
