"""Random adapters as GGUF files, for measurements: right in shape and size, without meaning.

The same numbers for the same seed. llama.cpp reads the files as well.

Source of the layout: the GGUF specification (ggml/docs/gguf.md), version 3; names and keys as
llama.cpp's `convert_lora_to_gguf.py` writes them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realm.lora import AdapterBase

_ALIGNMENT = 32
_TEXT, _FLOAT32 = 8, 6  # kinds of metadata values
_F16 = 1  # the block type
_STRENGTH = 0.05  # of scale B (A x) where x has variance one
_ALPHA_OVER_RANK = 2.0

Tensors = Mapping[str, NDArray[np.float16]]


def write_random_adapter(path: Path, base: AdapterBase, rank: int, seed: int) -> Path:
    """An adapter of every linear product of every layer, in half floats. Raises OSError."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, NDArray[np.float16]] = {}
    for name, (outputs, inputs) in base.shapes.items():
        if name.startswith("blk."):
            size = _STRENGTH / _ALPHA_OVER_RANK * rank**-0.5
            tensors[f"{name}.lora_a"] = _normal(rng, (rank, inputs), inputs**-0.5)
            tensors[f"{name}.lora_b"] = _normal(rng, (outputs, rank), size)
    with path.open("wb") as file:
        file.write(_header(base.architecture, _ALPHA_OVER_RANK * rank, tensors))
        for tensor in tensors.values():
            file.write(tensor.tobytes())
            file.write(bytes(-tensor.nbytes % _ALIGNMENT))
    return path


def packed_bytes(base: AdapterBase, rank: int) -> int:
    """At most what such an adapter takes in memory: two bytes a number, ranks in sixteens."""
    matrices = [shape for name, shape in base.shapes.items() if name.startswith("blk.")]
    padded = -(-rank // 16) * 16
    return sum(2 * padded * (outputs + inputs) for outputs, inputs in matrices)


def _normal(rng: np.random.Generator, shape: tuple[int, int], size: float) -> NDArray[np.float16]:
    return (rng.standard_normal(shape, np.float32) * np.float32(size)).astype(np.float16)


def _header(architecture: str, alpha: float, tensors: Tensors) -> bytes:
    keys = [
        _key("general.architecture", _TEXT, _text(architecture)),
        _key("general.type", _TEXT, _text("adapter")),
        _key("adapter.type", _TEXT, _text("lora")),
        _key("adapter.lora.alpha", _FLOAT32, struct.pack("<f", alpha)),
    ]
    infos, offset = [], 0
    for name, tensor in tensors.items():
        rows, columns = tensor.shape
        infos.append(_text(name) + struct.pack("<IQQIQ", 2, columns, rows, _F16, offset))
        offset += tensor.nbytes + -tensor.nbytes % _ALIGNMENT
    front = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    header = front + b"".join(keys + infos)
    return header + bytes(-len(header) % _ALIGNMENT)


def _key(name: str, kind: int, value: bytes) -> bytes:
    return _text(name) + struct.pack("<I", kind) + value


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded
