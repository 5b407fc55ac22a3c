"""Texts and token ids as vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import numpy as np

from realm.errors import CancelledError, ConfigError, RequestError
from realm.server.wire.messages import Embed, Embedded

if TYPE_CHECKING:
    from realm.model import StoredModel
    from realm.model.stored import Pooling

MOST_INPUTS = 2048
"""Of one request, as many as OpenAI's API takes."""


def embed_texts(model: StoredModel, call: Embed, is_cancelled: Callable[[], bool]) -> Embedded:
    """One float32 row of length 1 for each input, in order.

    Raises ConfigError for the pooling, RequestError, ContextLengthError and TokenizerError for the
    inputs, CancelledError when nobody wants them any more.
    """
    if call.pooling not in ("mean", "last"):
        raise ConfigError(f"pooling must be mean or last, not {call.pooling!r}")
    if not 0 < len(call.inputs) <= MOST_INPUTS:
        raise RequestError(f"{len(call.inputs)} inputs, 1 to {MOST_INPUTS} can be embedded at once")
    pooling = cast("Pooling", call.pooling)
    rows, counts = [], []
    for each in call.inputs:
        if is_cancelled():
            raise CancelledError("the request was cancelled")
        ids = model.tokenizer.encode(each) if isinstance(each, str) else each
        rows.append(model.embed_text(ids, pooling))
        counts.append(len(ids))
    vectors = np.stack(rows)
    return Embedded(call.number, vectors.shape[1], vectors.tobytes(), counts)
