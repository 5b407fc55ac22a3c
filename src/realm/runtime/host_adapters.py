"""The host function that sets the adapters of a guest's handle of a model."""

from __future__ import annotations

from realm.errors import ConfigError
from realm.runtime.contract import ErrorCode
from realm.runtime.guest_state import GuestState
from realm.runtime.handles import ModelHandle
from realm.runtime.held_adapters import HeldAdapters
from realm.runtime.host_call import Answer, HostCallError, WaitForWork
from realm.runtime.host_models import read_bounded_text


def set_lora_adapter(
    state: GuestState, model_id: int, adapter_id_ptr: int, adapter_id_len: int
) -> Answer:
    handle = state.models.get(model_id)
    if adapter_id_len == 0:
        _set(state, handle, None)
        return 0
    name = read_bounded_text(state, adapter_id_ptr, adapter_id_len)
    try:
        held = state.surroundings.adapters.hold(name, handle.model)
    except ConfigError:
        text = "adapters are for models that the host offers"
        raise HostCallError(ErrorCode.ADAPTER, text) from None
    state.loading = held

    def look() -> Answer:
        if not held.is_ready:
            return WaitForWork(look)
        state.loading = None
        try:
            held.weighted()
        except BaseException:
            held.drop()
            state.surroundings.services.account.turns.charge_failure()
            raise
        _set(state, handle, held)
        return 0

    held.when_ready(state.surroundings.wake)
    return look()


def _set(state: GuestState, handle: ModelHandle, held: HeldAdapters | None) -> None:
    """What realm_forward_layer has cached was computed with the adapters of before."""
    state.close_layers(handle)
    if handle.adapters is not None:
        handle.adapters.drop()
    handle.adapters = held
