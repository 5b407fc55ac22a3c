"""Single layers on rows that a caller brings: several sequences of one model in one native call.

A row's bits never depend on the rows beside it. The sequence's cache holds each layer's keys and
values of the positions before.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from realm.engine.sequence import Sequence
from realm.errors import RequestError
from realm.kernels import Team
from realm.model import adapter_rows

if TYPE_CHECKING:
    from realm.engine.model_state import ModelState

_NO_ROWS = np.empty(0, np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class LayerRows:
    """hidden: float32 [rows, hidden], at positions position.. of a sequence without tokens."""

    sequence: int
    layer: int
    hidden: NDArray[np.float32]
    position: int


def prepare_layer(state: ModelState, found: Sequence, rows: LayerRows) -> None:
    """Makes room in the cache. Raises RequestError for what does not fit, CapacityError."""
    h = state.model.hyperparameters
    if not 0 <= rows.layer < h.layer_count:
        raise RequestError(f"layer {rows.layer} is outside of 0..{h.layer_count - 1}")
    shape = rows.hidden.shape
    if len(shape) != 2 or not shape[0] or shape[1] != h.hidden_size:
        raise RequestError(f"hidden states {shape} are not [rows, {h.hidden_size}]")
    written = found.layer_ends.get(rows.layer, 0)
    if not 0 <= rows.position <= written:
        text = f"position {rows.position} leaves a gap: the layer's cache ends before {written}"
        raise RequestError(text)
    if found.tokens:
        raise RequestError("the sequence has tokens; layer by layer it must have none")
    found.by_layers = True
    state.make_writable(found, rows.position, rows.position + shape[0])


def compute_layer(
    state: ModelState, team: Team, batch: Items[tuple[Sequence, LayerRows]]
) -> list[NDArray[np.float32]]:
    """The rows after the layer, which is the same in all of the batch; each was prepared."""
    layer = batch[0][1].layer
    hidden = np.concatenate([rows.hidden for _, rows in batch])
    segments = [[found.table_row, rows.position, len(rows.hidden)] for found, rows in batch]
    out = np.empty_like(hidden)
    added = adapter_rows([(len(rows.hidden), found.adapters) for found, rows in batch])
    with state.model.step_lock:
        state.model.native.step(
            state.cache.pool,
            team,
            hidden=hidden,
            page_table=state.cache.table,
            segments=np.array(segments, np.int32),
            layer_begin=layer,
            layer_end=layer + 1,
            logit_rows=_NO_ROWS,
            hidden_out=out,
            adapters=added.natives,
            adapter_runs=added.runs,
            adapter_weights=added.weights,
        )
    for found, rows in batch:
        end = rows.position + len(rows.hidden)
        found.layer_ends[layer] = max(found.layer_ends.get(layer, 0), end)
    return np.split(out, np.cumsum([len(rows.hidden) for _, rows in batch])[:-1])
