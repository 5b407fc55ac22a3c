"""One layer of a stored model on given rows, through the native step with a cache of its own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from realm.kernels import PAGE_TOKENS, CachePool, Team
from realm.model import StoredModel

STEP_ROWS = 256


def run_layer(
    model: StoredModel, layer: int, hidden: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """What layer `layer` makes of one text's hidden states, [tokens, width] in and out."""
    pages = -(-len(hidden) // PAGE_TOKENS)
    pool, team = CachePool(model.native, pages), Team(2)
    result = np.empty_like(hidden)
    for first in range(0, len(hidden), STEP_ROWS):
        rows = np.ascontiguousarray(hidden[first : first + STEP_ROWS])
        with model.step_lock:
            model.native.step(
                pool,
                team,
                hidden=rows,
                page_table=np.arange(pages, dtype=np.int32).reshape(1, pages),
                segments=np.array([[0, first, len(rows)]], np.int32),
                layer_begin=layer,
                layer_end=layer + 1,
                logit_rows=np.empty(0, np.int32),
                hidden_out=result[first : first + len(rows)],
            )
    return result
