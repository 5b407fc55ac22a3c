"""Host functions that run a model piece by piece: embedding, single layers, the head.

Lengths count f32 values, and every function returns how many it wrote.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from realm.engine import LayerRows
from realm.errors import ContextLengthError
from realm.runtime.contract import ErrorCode
from realm.runtime.guest_state import GuestState
from realm.runtime.held_adapters import weighted
from realm.runtime.host_call import Answer, HostCallError, WaitForLayer
from realm.runtime.hosted_model import HostedModel

_WORD_BYTES = 4


def embed_tokens(
    state: GuestState, model_id: int, ids_ptr: int, token_count: int, out_ptr: int
) -> int:
    handle = state.models.get(model_id)
    model = handle.model
    _require_rows(state, model, token_count, out_ptr)
    ids = state.memory.read_ids(ids_ptr, token_count, model.vocabulary_size, model.context_length)
    found = model.stored.embed(ids, weighted(handle.adapters))
    rows = np.ascontiguousarray(found, np.float32)
    state.memory.write(out_ptr, rows)
    return int(rows.size)


def forward_layer(  # noqa: PLR0917
    state: GuestState,
    model_id: int,
    layer_idx: int,
    hidden_ptr: int,
    hidden_len: int,
    position: int,
    out_ptr: int,
) -> Answer:
    handle = state.models.get(model_id)
    model = handle.model
    layer_count = model.stored.hyperparameters.layer_count
    if not 0 <= layer_idx < layer_count:
        raise HostCallError(ErrorCode.INVALID, f"layer {layer_idx} of {layer_count}")
    if position < 0:
        raise HostCallError(ErrorCode.INVALID, f"position {position}")
    if hidden_len == 0 or hidden_len % model.hidden_size:
        raise HostCallError(
            ErrorCode.INVALID, f"{hidden_len} values are not rows of {model.hidden_size}"
        )
    rows = hidden_len // model.hidden_size
    _require_rows(state, model, rows, out_ptr)
    hidden = state.memory.read_floats(hidden_ptr, hidden_len).reshape(-1, model.hidden_size)
    surroundings = state.surroundings
    if position + rows > model.context_length:
        raise ContextLengthError(f"{position} + {rows} rows, at most {model.context_length}")
    if handle.layer_sequence is None:
        handle.layer_sequence = surroundings.engine.open(
            model.stored,
            surroundings.tenant_id,
            surroundings.services.priority,
            weighted(handle.adapters),
            draft_k=0,
        )
    state.count_layer_rows(rows, layer_count)
    state.size_layers(handle, position + rows)

    def complete(out: npt.NDArray[np.float32]) -> int:
        state.memory.write(out_ptr, np.ascontiguousarray(out, np.float32))
        return hidden_len

    return WaitForLayer(LayerRows(handle.layer_sequence, layer_idx, hidden, position), complete)


def compute_logits(
    state: GuestState, model_id: int, hidden_ptr: int, hidden_size: int, out_ptr: int
) -> int:
    handle = state.models.get(model_id)
    model = handle.model
    if hidden_size != model.hidden_size:
        raise HostCallError(
            ErrorCode.INVALID, f"{hidden_size} values, the hidden size is {model.hidden_size}"
        )
    state.memory.require(out_ptr, model.vocabulary_size * _WORD_BYTES)
    hidden = state.memory.read_floats(hidden_ptr, hidden_size)
    logits = model.stored.compute_logits(hidden, weighted(handle.adapters))
    state.memory.write(out_ptr, np.ascontiguousarray(logits, np.float32))
    return int(logits.size)


def _require_rows(state: GuestState, model: HostedModel, count: int, out_ptr: int) -> None:
    if count == 0:
        raise HostCallError(ErrorCode.INVALID, "no rows")
    state.memory.require(out_ptr, count * model.hidden_size * _WORD_BYTES)
    if count > model.context_length:
        raise ContextLengthError(f"{count} rows, the context holds {model.context_length}")
