"""What adapters must know of a decoder, out of its hyperparameters: no weights are needed."""

from __future__ import annotations

from types import MappingProxyType

from realm.gguf import GGUFFile
from realm.lora import AdapterBase
from realm.lora.base import EMBEDDING_NAME, HEAD_NAME
from realm.model.hyperparameters import Hyperparameters
from realm.model.weights import expected_shapes


def adapter_base(hyperparameters: Hyperparameters, file: GGUFFile) -> AdapterBase:
    """The base of adapters for this file's decoder. Reads nothing but the header."""
    h = hyperparameters
    shapes = {
        name: (shape[0], shape[1])
        for name, shape in expected_shapes(h, file).items()
        if len(shape) == 2
    }
    shapes.setdefault(HEAD_NAME, shapes[EMBEDDING_NAME])
    return AdapterBase(
        architecture=h.architecture,
        layer_count=h.layer_count,
        hidden_size=h.hidden_size,
        vocabulary_size=h.vocabulary_size,
        head_count=h.head_count,
        kv_head_count=h.kv_head_count,
        head_size=h.head_size,
        shapes=MappingProxyType(shapes),
        interleaved=any(rope.interleaved for rope in h.ropes),
    )
