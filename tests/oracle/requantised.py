"""One GGUF file written again and again, with its matrices in other block types.

Metadata is copied byte by byte, vectors stay as they are. What a block type's bytes mean is taken
from the gguf package; Q8_K, which it does not read, has a meaning of its own here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import gguf
from gguf import GGMLQuantizationType

from . import THREADS
from .block_encoders import encode
from .gguf_weights import PlainArrayReader

Floats = NDArray[np.float32]
TypeOf = Callable[[str, int], str]
"""The name of a matrix' block type from its own name and its columns."""
_Q8_K = np.dtype([("scale", "<f4"), ("quants", "i1", 256), ("sums", "<i2", 16)])


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One tensor as it stands in a file, and the float32 values that its bytes mean."""

    name: str
    block_type: str
    data: NDArray[np.uint8]
    values: Floats


class Requantiser:
    """The tensors of one file, and how each was last written."""

    def __init__(self, source: Path) -> None:
        reader = PlainArrayReader(source)
        self._metadata = source.read_bytes()[: reader.tensors[0].field.offset]
        self._alignment = reader.alignment
        self._source = [
            Tensor(
                tensor.name,
                tensor.tensor_type.name,
                np.ascontiguousarray(tensor.data).view(np.uint8),
                np.array(gguf.dequantize(tensor.data, tensor.tensor_type), np.float32),
            )
            for tensor in reader.tensors
        ]
        self._written = {tensor.name: tensor for tensor in self._source}

    def write(self, target: Path, type_of: TypeOf) -> Iterator[Tensor]:
        """Write the file; the tensors that are not what they were in the last one."""
        matrices = [tensor for tensor in self._source if tensor.values.ndim == 2]
        stale = [
            tensor
            for tensor in matrices
            if self._written[tensor.name].block_type != _chosen(type_of, tensor)
        ]
        with ThreadPoolExecutor(THREADS) as pool:
            fresh = list(pool.map(lambda each: _as_type(each, type_of), stale))
        self._written |= {tensor.name: tensor for tensor in fresh}
        with target.open("wb") as file:
            file.write(self._metadata)
            offset = 0
            for tensor in self._written.values():
                file.write(_description(tensor, offset))
                offset += self._padded(tensor.data.nbytes)
            file.write(bytes(self._padded(file.tell()) - file.tell()))
            for tensor in self._written.values():
                file.write(tensor.data)
                file.write(bytes(self._padded(tensor.data.nbytes) - tensor.data.nbytes))
        return iter(fresh)

    def _padded(self, size: int) -> int:
        return -(-size // self._alignment) * self._alignment


def meaning(data: NDArray[np.uint8], block_type: str) -> Floats:
    """Rows of bytes, uint8 [rows, bytes], as float32 [rows, columns]."""
    if block_type == "Q8_K":
        blocks = data.reshape(-1).view(_Q8_K)
        return (blocks["scale"][:, None] * blocks["quants"].astype(np.float32)).reshape(
            len(data), -1
        )
    kind = GGMLQuantizationType[block_type]
    plain = {"F32": np.float32, "F16": np.float16}.get(block_type)
    return np.array(gguf.dequantize(data if plain is None else data.view(plain), kind), np.float32)


def _as_type(source: Tensor, type_of: TypeOf) -> Tensor:
    block_type = _chosen(type_of, source)
    data = encode(source.values, block_type)
    return Tensor(source.name, block_type, data, meaning(data, block_type))


def _chosen(type_of: TypeOf, tensor: Tensor) -> str:
    return type_of(tensor.name, tensor.values.shape[1])


def _description(tensor: Tensor, offset: int) -> bytes:
    """A tensor's entry before the data, as the GGUF specification lays it out."""
    name, shape = tensor.name.encode(), tensor.values.shape[::-1]
    return (
        struct.pack("<Q", len(name))
        + name
        + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        + struct.pack("<IQ", GGMLQuantizationType[tensor.block_type], offset)
    )
