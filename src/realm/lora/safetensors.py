"""Safetensors files, read without trusting them: a checked header, then the tensors' numbers.

The whole header is checked before any number is read: types, shapes, and that the tensors lie
side by side and fill the file to its end, as the format demands.

Source of the format: the safetensors README and its Rust implementation's validation.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm.errors import AdapterFormatError, AdapterKindError
from realm.gguf.turns import in_turns
from realm.lora.document import at_tensor, parse_object, shown
from realm.lora.files import ReadableFile

_LENGTH_BYTES = 8
_HEADER_BYTES = 2 << 20
_TENSORS = 1 << 14
_DIMENSIONS = 4
_METADATA = "__metadata__"
_FIELDS = {"dtype", "shape", "data_offsets"}

FLOAT_BYTES: Mapping[str, int] = MappingProxyType({"F32": 4, "F16": 2, "BF16": 2})
"""The types that factors may have, and the bytes of a number."""

_OTHER_TYPES = frozenset(
    {
        "BOOL",
        "C64",
        "F4",
        "F64",
        "F6_E2M3",
        "F6_E3M2",
        "F8_E4M3",
        "F8_E5M2",
        "F8_E8M0",
        "I16",
        "I32",
        "I64",
        "I8",
        "U16",
        "U32",
        "U64",
        "U8",
    }
)


class StoredTensor(NamedTuple):
    """A tensor as the header has it. begin, end: bytes within the data that follows the header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """Every tensor by name, in the data's order. data_offset: bytes before the data."""

    tensors: Mapping[str, StoredTensor]
    data_offset: int
    data_bytes: int


def read_header(file: ReadableFile) -> SafetensorsHeader:
    """The checked header. Raises AdapterFormatError, or AdapterKindError for a type of number
    that factors cannot have; both name the file and the tensor."""
    place = str(file.path)
    if file.size_bytes < _LENGTH_BYTES:
        raise AdapterFormatError(f"{place}: {file.size_bytes} bytes are not a safetensors file")
    length = int(file.read(0, _LENGTH_BYTES).view("<u8")[0])
    if length > _HEADER_BYTES:
        raise AdapterFormatError(f"{place}: a header of {length} bytes cannot be true")
    if _LENGTH_BYTES + length > file.size_bytes:
        raise AdapterFormatError(
            f"{place}: the header takes {length} bytes, and the file ends at {file.size_bytes}"
        )
    text = file.read(_LENGTH_BYTES, length).tobytes()
    if not text.startswith(b"{"):
        raise AdapterFormatError(f"{place}: the header does not begin with '{{'")
    document = parse_object(text, place)
    _check_metadata(document.pop(_METADATA, {}), place)
    if len(document) > _TENSORS:
        raise AdapterFormatError(f"{place}: {len(document)} tensors, more than {_TENSORS}")
    tensors = [_tensor(name, entry, place) for name, entry in in_turns(document.items())]
    tensors.sort(key=lambda tensor: (tensor.begin, tensor.end))
    data_bytes = file.size_bytes - _LENGTH_BYTES - length
    _check_layout(tensors, data_bytes, place)
    by_name = MappingProxyType({tensor.name: tensor for tensor in tensors})
    return SafetensorsHeader(by_name, _LENGTH_BYTES + length, data_bytes)


def read_rows(
    file: ReadableFile,
    header: SafetensorsHeader,
    tensor: StoredTensor,
    first: int,
    out: NDArray[np.float32],
) -> None:
    """Fills `out`, float32 [rows, columns], with the tensor's rows from `first` on."""
    size = FLOAT_BYTES[tensor.dtype]
    position = header.data_offset + tensor.begin + first * math.prod(tensor.shape[1:]) * size
    flat = out.reshape(-1)
    if tensor.dtype == "F32":
        file.read_into(position, flat.view(np.uint8))
        return
    stored = file.read(position, flat.size * size)
    if tensor.dtype == "F16":
        flat[:] = stored.view("<f2")
    else:
        # The upper half of a float32 (IEEE 754 binary32 without the low 16 bits).
        np.left_shift(stored.view("<u2"), np.uint32(16), out=flat.view(np.uint32))


def _check_metadata(metadata: object, place: str) -> None:
    is_text = isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())
    if not is_text:
        raise AdapterFormatError(f"{place}: {_METADATA} must be text by names")


def _tensor(name: str, entry: Any, place: str) -> StoredTensor:
    if not isinstance(entry, dict) or entry.keys() != _FIELDS:
        raise AdapterFormatError(
            f"{at_tensor(place, name)}: must have exactly {', '.join(sorted(_FIELDS))}"
        )
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not (dtype in FLOAT_BYTES or dtype in _OTHER_TYPES):
        raise AdapterFormatError(f"{at_tensor(place, name)}: unknown type {shown(dtype)}")
    if dtype not in FLOAT_BYTES:
        raise AdapterKindError(
            f"{at_tensor(place, name)}: is {dtype}; factors are {', '.join(FLOAT_BYTES)}"
        )
    if not _are_sizes(shape) or len(shape) > _DIMENSIONS:
        raise AdapterFormatError(f"{at_tensor(place, name)}: shape {shown(shape)} cannot be")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise AdapterFormatError(
            f"{at_tensor(place, name)}: data_offsets {shown(offsets)} cannot be"
        )
    begin, end = offsets
    needed = math.prod(shape) * FLOAT_BYTES[dtype]
    if end - begin != needed:
        text = f"{end - begin} bytes are not {dtype} of shape {tuple(shape)}, which takes {needed}"
        raise AdapterFormatError(f"{at_tensor(place, name)}: {text}")
    return StoredTensor(name, dtype, tuple(shape), begin, end)


def _are_sizes(values: object) -> bool:
    """A list of integers that are no booleans and may be sizes; there are thousands of these."""
    if not isinstance(values, list) or not set(map(type, values)) <= {int}:
        return False
    return not values or (min(values) >= 0 and max(values) <= sys.maxsize)


def _check_layout(tensors: list[StoredTensor], data_bytes: int, place: str) -> None:
    position = 0
    for tensor in tensors:
        if tensor.begin < position:
            raise AdapterFormatError(
                f"{at_tensor(place, tensor.name)}: its data overlaps that of the tensor before it"
            )
        if tensor.begin > position:
            text = f"{tensor.begin - position} bytes before it are no one's"
            raise AdapterFormatError(f"{at_tensor(place, tensor.name)}: {text}")
        if tensor.end > data_bytes:
            text = f"its data ends at {tensor.end}, and the file's at {data_bytes}"
            raise AdapterFormatError(f"{at_tensor(place, tensor.name)}: {text}")
        position = tensor.end
    if position < data_bytes:
        raise AdapterFormatError(f"{place}: the last {data_bytes - position} bytes are no one's")
