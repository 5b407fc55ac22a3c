"""From pairs of tensors to an adapter: every pair is checked against the base before one is read.

What both formats share. Nothing comes out unless all of it is right.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from realm.errors import AdapterFormatError, AdapterMismatchError
from realm.lora.adapter import (
    Adapter,
    Factor,
    Floats,
    Projection,
    Target,
)
from realm.lora.base import EMBEDDING_NAME, AdapterBase
from realm.lora.document import shown
from realm.lora.names import targets_of

LARGEST_RANK = 512
_LARGEST_SCALE = float(np.finfo(np.float32).max)
_CHUNK_BYTES = 4 << 20
_HASHING_THREADS = 4
_DIGEST_TAG = b"realm adapter 1"
_PAIR_HEADER = struct.Struct("<QQQd")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two tensors of a file that change one product of the base.

    name: the product's tensor in GGUF. a, b: what the file calls them. a_shape: [rank, inputs],
    b_shape: [outputs, rank], whatever the order in the file. scale: of their product.
    """

    name: str
    a: str
    b: str
    a_shape: tuple[int, ...]
    b_shape: tuple[int, ...]
    scale: float

    @property
    def element_count(self) -> int:
        """Numbers of both."""
        return math.prod(self.a_shape) + math.prod(self.b_shape)


def check_pairs(pairs: Sequence[Pair], base: AdapterBase, place: str) -> None:
    """Raises AdapterMismatchError and AdapterFormatError, naming the tensor, for shapes that do
    not fit the base or each other. place: begins the message."""
    if not pairs:
        raise AdapterFormatError(f"{place}: there is not one factor in it")
    for pair in pairs:
        _check(pair, base, place)


def assemble(
    pairs: Sequence[Pair],
    base: AdapterBase,
    read: Callable[[str, Floats], None],
    *,
    place: str,
    interleave: bool,
) -> Adapter:
    """Read pairs that `check_pairs` passed into one array, and make the adapter.

    read: fills float32 of the shape that the pair states with the tensor of this name.
    place: begins the message of an error. interleave: rows of `b` for query and key stand in
    transformers' order and must become the base's.
    Raises AdapterFormatError, naming the tensor, for a number that is none.
    """
    ordered = sorted(pairs, key=lambda pair: targets_of(pair.name, base)[0][0].order)
    whole = np.empty(sum(pair.element_count for pair in ordered), np.float32)
    factors: dict[Target, Factor] = {}
    position = 0
    for pair in ordered:
        middle = position + math.prod(pair.a_shape)
        end = position + pair.element_count
        a = whole[position:middle].reshape(pair.a_shape)
        b = whole[middle:end].reshape(pair.b_shape)
        read(pair.a, a)
        read(pair.b, b)
        for target, rows in targets_of(pair.name, base):
            heads = _rotated_heads(target.projection, base) if interleave else 0
            if heads:
                b[rows] = interleaved(b[rows], heads)
            factors[target] = Factor(a, b[rows], pair.scale)
        position = end
    _require_finite(whole, ordered, place)
    whole.setflags(write=False)
    for factor in factors.values():
        factor.a.setflags(write=False)
        factor.b.setflags(write=False)
    in_order = dict(sorted(factors.items(), key=lambda item: item[0].order))
    return Adapter(_digest(ordered, whole), MappingProxyType(in_order), whole.nbytes)


def interleaved(rows: Floats, heads: int) -> Floats:
    """Rows of each head as (0, half, 1, half + 1, ...): float32 [heads x size, rank], a copy.

    What llama.cpp's converter does to the query and key weights of the llama family.
    """
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, rows.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(rows.shape)


def _digest(pairs: Sequence[Pair], whole: Floats) -> bytes:
    """SHA-256 over what the numbers are for, and over the SHA-256 of every chunk of them."""
    digest = hashlib.sha256(_DIGEST_TAG)
    for pair in pairs:
        rank, inputs = pair.a_shape
        digest.update(_PAIR_HEADER.pack(rank, inputs, pair.b_shape[0], pair.scale))
        digest.update(pair.name.encode() + b"\0")
    stored = whole.view(np.uint8)
    chunks = [stored[i : i + _CHUNK_BYTES] for i in range(0, stored.size, _CHUNK_BYTES)]
    if len(chunks) == 1:
        digest.update(hashlib.sha256(chunks[0].data).digest())
        return digest.digest()
    # Hashing takes as long as all else together; it leaves Python's lock free.
    with ThreadPoolExecutor(min(len(chunks), _HASHING_THREADS), "realm-adapter-hash") as team:
        for part in team.map(lambda chunk: hashlib.sha256(chunk.data).digest(), chunks):
            digest.update(part)
    return digest.digest()


def _rotated_heads(projection: Projection, base: AdapterBase) -> int:
    """How many heads' rows must be interleaved; 0 for none."""
    if not base.interleaved:
        return 0
    return {Projection.QUERY: base.head_count, Projection.KEY: base.kv_head_count}.get(
        projection, 0
    )


def _check(pair: Pair, base: AdapterBase, place: str) -> None:
    if not abs(pair.scale) <= _LARGEST_SCALE:
        text = f"{place}: tensor {shown(pair.b)}: its scale {pair.scale} is no float32 number"
        raise AdapterFormatError(text)
    outputs, inputs = base.shapes[pair.name]
    if pair.name == EMBEDDING_NAME:  # stored by token: its inputs are the vocabulary
        outputs, inputs = inputs, outputs
    for name, shape in ((pair.a, pair.a_shape), (pair.b, pair.b_shape)):
        if len(shape) != 2:
            raise AdapterFormatError(f"{place}: tensor {shown(name)}: {shape} is no matrix")
    rank, b_rank = pair.a_shape[0], pair.b_shape[1]
    if rank < 1 or b_rank < 1:
        raise AdapterFormatError(f"{place}: tensor {shown(pair.a)}: the rank is 0")
    if rank > LARGEST_RANK:
        text = f"rank {rank} is more than {LARGEST_RANK}"
        raise AdapterFormatError(f"{place}: tensor {shown(pair.a)}: {text}")
    if pair.a_shape[1] != inputs:
        _mismatch(place, pair.a, pair.a_shape, f"{pair.name} of the base has {inputs} inputs")
    if pair.b_shape[0] != outputs:
        _mismatch(place, pair.b, pair.b_shape, f"{pair.name} of the base has {outputs} outputs")
    if rank != b_rank:
        text = f"rank {b_rank}, and {rank} in {shown(pair.a)}"
        raise AdapterFormatError(f"{place}: tensor {shown(pair.b)}: {text}")


def _mismatch(place: str, name: str, shape: tuple[int, ...], why: str) -> None:
    raise AdapterMismatchError(f"{place}: tensor {shown(name)} is {shape}, but {why}")


def _require_finite(whole: Floats, pairs: Sequence[Pair], place: str) -> None:
    # A number that is none makes the sum one; a sum may also overflow without.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(whole.sum()):
            return
    finite = np.isfinite(whole)
    if finite.all():
        return
    index = int(np.argmin(finite))
    number, position = whole[index], 0
    for pair in pairs:
        for name, shape in ((pair.a, pair.a_shape), (pair.b, pair.b_shape)):
            size = math.prod(shape)
            if position <= index < position + size:
                raise AdapterFormatError(f"{place}: tensor {shown(name)}: it holds {number}")
            position += size
