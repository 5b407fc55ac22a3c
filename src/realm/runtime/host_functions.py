"""The host functions in the order of the contract's table, and how one call is answered.

No exception leaves `answer_call`: a guest's mistake is its own negative number, and a fault of the
host is logged and told to the guest as REALM_E_INTERNAL.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from realm.errors import RealmError
from realm.runtime import (
    host_adapters,
    host_constraints,
    host_layers,
    host_models,
    host_output,
    host_sessions,
    host_store,
    host_tools,
)
from realm.runtime.contract import HOST_FUNCTIONS, ErrorCode
from realm.runtime.guest_state import GuestState
from realm.runtime.host_call import Answer, HostCallError, code_of

_LOGGER = logging.getLogger(__name__)
_TEXT_LENGTH = 1000  # characters of an error that are kept; some repeat what the guest gave

# Each takes the state and the parameters of its row in HOST_FUNCTIONS.
_BY_NAME: dict[str, Callable[..., Answer]] = {
    "realm_store_model": host_store.store_model,
    "realm_store_draft_model": host_store.store_draft_model,
    "realm_host_load_model_by_name": host_models.load_model_by_name,
    "realm_remove_model": host_models.remove_model,
    "realm_set_lora_adapter": host_adapters.set_lora_adapter,
    "realm_get_model_info": host_models.get_model_info,
    "realm_get_model_metadata": host_models.get_model_metadata,
    "realm_get_tensor": host_store.get_tensor,
    "realm_encode_tokens": host_models.encode_tokens,
    "realm_encode_text": host_models.encode_text,
    "realm_decode_tokens": host_models.decode_tokens,
    "realm_render_chat": host_models.render_chat,
    "realm_embed_tokens": host_layers.embed_tokens,
    "realm_forward_layer": host_layers.forward_layer,
    "realm_compute_logits": host_layers.compute_logits,
    "realm_session_open": host_sessions.session_open,
    "realm_session_prefill": host_sessions.session_prefill,
    "realm_session_sample": host_sessions.session_sample,
    "realm_session_logits": host_sessions.session_logits,
    "realm_session_accept": host_sessions.session_accept,
    "realm_session_mask": host_constraints.session_mask,
    "realm_session_constrain": host_constraints.session_constrain,
    "realm_session_fork": host_sessions.session_fork,
    "realm_session_rewind": host_sessions.session_rewind,
    "realm_session_position": host_sessions.session_position,
    "realm_session_close": host_sessions.session_close,
    "realm_host_generate": host_sessions.host_generate,
    "realm_stream_token": host_output.stream_token,
    "realm_respond": host_output.respond,
    "realm_state_get": host_tools.state_get,
    "realm_state_put": host_tools.state_put,
    "realm_tool_call": host_tools.tool_call,
    "realm_last_error": host_output.last_error,
    "realm_last_size": host_output.last_size,
    "realm_log": host_output.log,
    "realm_now_ms": host_output.now_ms,
    "realm_random": host_output.random,
}
HANDLERS: tuple[Callable[..., Answer], ...] = tuple(
    _BY_NAME[function.name] for function in HOST_FUNCTIONS
)


def answer_call(state: GuestState, call: Callable[..., Answer], *arguments: Any) -> Answer:
    """The answer of one host function, or of the rest of one that had to wait."""
    try:
        return call(*arguments)
    except Exception as error:
        return refusal(state, error)


def refusal(state: GuestState, error: Exception) -> int:
    """The answer of a host function that raised; call it while the error is handled.

    The error loses its frames, which would keep the guest alive for as long as anyone has it.
    """
    if isinstance(error, HostCallError):
        return _refuse(state, error.with_traceback(None).code, str(error), None)
    if isinstance(error, RealmError):
        return _refuse(state, code_of(error), str(error), error.with_traceback(None))
    _LOGGER.error("a host function failed", exc_info=error)
    error.with_traceback(None)
    return _refuse(state, ErrorCode.INTERNAL, "a fault of the host", None)


def _refuse(state: GuestState, code: ErrorCode, text: str, cause: RealmError | None) -> int:
    state.last_error = text[:_TEXT_LENGTH]
    state.last_code = code
    state.last_exception = cause
    return -int(code)
