"""An adapter as a GGUF file, as llama.cpp's converter writes it.

Its rows stand in the order of the base's GGUF file already. Every tensor is copied out before the
file is closed.

Source of keys and names: `convert_lora_to_gguf.py` and `llama-adapter.cpp` in llama.cpp.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from realm.errors import (
    AdapterFormatError,
    AdapterKindError,
    AdapterMismatchError,
    AdapterOpenError,
    GGUFError,
    GGUFOpenError,
)
from realm.gguf import GGUFFile, TensorInfo, open_gguf
from realm.gguf.turns import in_turns
from realm.kernels.dequantize import MEANINGS, dequantize
from realm.lora.adapter import Floats
from realm.lora.adapter_file import AdapterFile, compute_given
from realm.lora.base import EMBEDDING_NAME, AdapterBase
from realm.lora.document import at_tensor, shown
from realm.lora.layout import Layout, lay_out
from realm.lora.layout_cache import LayoutCache
from realm.lora.names import is_product
from realm.lora.pair import Pair, check_pairs
from realm.lora.stored import STORED_TYPES, StoredNumbers

_SIDES = (".lora_a", ".lora_b")
_INVOCATION_TOKENS = "adapter.alora.invocation_tokens"


@contextmanager
def open_gguf_adapter(path: Path, base: AdapterBase, layouts: LayoutCache) -> Iterator[AdapterFile]:
    """The adapter in this file. Raises an AdapterError that names the file and the tensor."""
    try:
        with path.open("rb") as file:
            layout = _find(file.fileno(), base, layouts)
            if layout is not None:
                yield AdapterFile(layout, file.fileno(), path)
                return
        with open_gguf(path) as file:
            yield _open(file, base, layouts)
    except GGUFOpenError as reason:
        raise AdapterOpenError(str(reason)) from reason
    except GGUFError as reason:
        raise AdapterFormatError(str(reason)) from reason


def _find(descriptor: int, base: AdapterBase, layouts: LayoutCache) -> Layout | None:
    """Of a file that begins as another one did."""
    size_bytes = os.fstat(descriptor).st_size
    return layouts.find(base, size_bytes, lambda count: os.pread(descriptor, count, 0))


def _open(file: GGUFFile, base: AdapterBase, layouts: LayoutCache) -> AdapterFile:
    place = str(file.path)
    _check_metadata(file, base)
    alpha = file.get("adapter.lora.alpha", float, 0.0)
    pairs = _pair_up(file, base, alpha, place)
    check_pairs(pairs, base, place)
    layout = lay_out(pairs, base, partial(_stored, file), interleave=False)
    given = compute_given(layout, file.path, partial(_compute, file))
    header = os.pread(file.descriptor, file.data_offset, 0)
    layouts.keep(base, file.size_bytes, header, layout)
    return AdapterFile(layout, file.descriptor, file.path, given)


def _stored(file: GGUFFile, name: str) -> StoredNumbers | None:
    info = file.tensors[name]
    if info.block_type.name not in STORED_TYPES:
        return None
    dtype = STORED_TYPES.index(info.block_type.name)
    return StoredNumbers(info.offset, dtype, _is_turned(name))


def _compute(file: GGUFFile, name: str, out: Floats) -> None:
    info = file.tensors[name]
    values = dequantize(file.tensor_data(name), info.block_type, info.shape)
    out[:] = values.T if _is_turned(name) else values


def _check_metadata(file: GGUFFile, base: AdapterBase) -> None:
    kind = file.get("general.type", str, "model")
    if kind != "adapter":
        raise AdapterKindError(f"{file.path}: general.type is {shown(kind)}, not 'adapter'")
    kind = file.require("adapter.type", str)
    if kind != "lora":
        raise AdapterKindError(f"{file.path}: adapter.type is {shown(kind)}, not 'lora'")
    architecture = file.require("general.architecture", str)
    if architecture != base.architecture:
        text = f"made for {shown(architecture)}, and the base is {base.architecture!r}"
        raise AdapterMismatchError(f"{file.path}: {text}")
    if _INVOCATION_TOKENS in file.metadata:
        raise AdapterKindError(f"{file.path}: {_INVOCATION_TOKENS}: activated LoRA is not offered")


def _pair_up(file: GGUFFile, base: AdapterBase, alpha: float, place: str) -> list[Pair]:
    products: dict[str, dict[str, TensorInfo]] = {}
    for info in in_turns(file.tensors.values()):
        name, side = info.name[:-7], info.name[-7:]
        if side not in _SIDES:
            if info.name.endswith((".weight", ".bias")):
                why = "whole weights beside the factors are not offered"
                raise AdapterKindError(f"{at_tensor(place, info.name)}: {why}")
            raise AdapterFormatError(f"{at_tensor(place, info.name)}: not a factor")
        if not is_product(name, base):
            raise AdapterMismatchError(
                f"{at_tensor(place, info.name)}: the base ({base.architecture}, "
                f"{base.layer_count} layers) has no product {shown(name)}"
            )
        if info.block_type not in MEANINGS:
            raise AdapterKindError(
                f"{at_tensor(place, info.name)}: {info.block_type.name} cannot be read"
            )
        products.setdefault(name, {})[side] = info
    pairs = []
    for name, sides in products.items():
        if len(sides) < 2:
            (one,) = sides.values()
            missing = _SIDES[_SIDES[0] in sides]
            text = f"{shown(name + missing)} is not in the file"
            raise AdapterFormatError(f"{place}: tensor {shown(one.name)}: {text}")
        a, b = (sides[side] for side in _SIDES)
        a_shape = tuple(reversed(a.shape)) if _is_turned(a.name) else a.shape
        rank = b.shape[-1] if b.shape else 0
        # As llama.cpp: without an alpha the factors stand as they are.
        scale = alpha / rank if alpha and rank else 1.0
        pairs.append(Pair(name, a.name, b.name, a_shape, b.shape, scale))
    return pairs


def _is_turned(name: str) -> bool:
    """The embedding's A is stored by token: [vocabulary, rank]."""
    return name == EMBEDDING_NAME + _SIDES[0]
