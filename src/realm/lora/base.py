"""What of a base model an adapter must fit: its linear products and how their rows stand.

Filled in by the model layer, out of a file's header alone; it holds no weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EMBEDDING_NAME = "token_embd.weight"
HEAD_NAME = "output.weight"


@dataclass(frozen=True, slots=True, eq=False)
class AdapterBase:
    """A decoder as adapters see it.

    architecture: `general.architecture`. shapes: (outputs, inputs) of every matrix by its GGUF
    name; where the head is tied to the embedding, "output.weight" is there nevertheless.
    interleaved: query and key rows stand as llama.cpp's converter puts them for the llama family,
    the two halves of a head alternating, so that rotation pairs neighbours.
    embedding_rows: the embedding's rows for these token ids, float32 [ids, hidden], unscaled;
    None where the weights are not at hand.
    """

    architecture: str
    layer_count: int
    hidden_size: int
    vocabulary_size: int
    head_count: int
    kv_head_count: int
    head_size: int
    shapes: Mapping[str, tuple[int, int]]
    interleaved: bool
    embedding_rows: Callable[[NDArray[np.int64]], NDArray[np.float32]] | None = None

    @property
    def query_rows(self) -> int:
        """Rows of the query product."""
        return self.head_count * self.head_size

    @property
    def key_rows(self) -> int:
        """Rows of the key product, and of the value product."""
        return self.kv_head_count * self.head_size
