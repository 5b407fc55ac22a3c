"""Host functions on the bytes of models: storing one, and reading a tensor of one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from realm.errors import RealmError
from realm.runtime.contract import ErrorCode
from realm.runtime.guest_models import ModelHold
from realm.runtime.guest_state import GuestState
from realm.runtime.handles import ModelHandle
from realm.runtime.host_call import Answer, HostCallError, WaitForTurn
from realm.runtime.host_models import read_bounded_text
from realm.runtime.host_work import in_background
from realm.runtime.hosted_model import HostedModel

_WORD_BYTES = 4
_TURN_BYTES = 2 << 20  # copied in one turn, which takes less than a millisecond


def store_model(state: GuestState, gguf_ptr: int, gguf_len: int, model_id: int) -> Answer:
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

    def store() -> HostedModel | RealmError:
        try:
            return services.guest_models.store(parts)
        except RealmError as error:
            return error

    def complete(found: HostedModel | RealmError) -> int:
        reserved = state.take_reserved_model()
        if isinstance(found, RealmError):
            services.account.take_model_bytes(-reserved)
            raise found
        hold = ModelHold(_releaser(state, found, reserved))
        return state.models.add(ModelHandle(found, hold=hold), model_id)

    def forget(found: HostedModel | RealmError) -> None:
        if isinstance(found, HostedModel):
            services.guest_models.release(found)

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
