"""From pairs of tensors to an adapter: every pair is checked against the base before one is read.

What both formats share. Nothing comes out unless all of it is right.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from realm.errors import AdapterFormatError, AdapterMismatchError
from realm.gguf.turns import in_turns
from realm.lora.adapter import Adapter, Factor, Projection, Target
from realm.lora.base import EMBEDDING_NAME, AdapterBase
from realm.lora.document import shown
from realm.lora.identity import Identity
from realm.lora.names import targets_of
from realm.lora.stored import FactorFile, Filling, Rows

LARGEST_RANK = 512
_LARGEST_SCALE = float(np.finfo(np.float32).max)
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
    for pair in in_turns(pairs):
        _check(pair, base, place)


def assemble(
    pairs: Sequence[Pair], base: AdapterBase, file: FactorFile, *, interleave: bool
) -> Adapter:
    """Read pairs that `check_pairs` passed into one array, and make the adapter.

    interleave: rows of `b` for query and key stand in transformers' order and must become the
    base's. The digest is still being computed when this returns.
    Raises AdapterFormatError, naming the tensor, for a number that is none; and as `Filling.read`.
    """
    placed = [(targets_of(pair.name, base), pair) for pair in in_turns(pairs)]
    placed.sort(key=lambda entry: entry[0][0][0].order)
    rotated = _rotated_heads(base) if interleave else {}
    whole = np.empty(sum(pair.element_count for _, pair in placed), np.float32)
    frozen = whole.view()
    frozen.setflags(write=False)
    factors: dict[Target, Factor] = {}
    meaning = bytearray()
    end = 0
    filling = Filling(file, whole)
    for targets, pair in in_turns(placed):
        (rank, inputs), outputs = pair.a_shape, pair.b_shape[0]
        begin, middle = end, end + rank * inputs
        end = middle + outputs * rank
        parts = [
            Rows(rows.start, rows.stop - rows.start, rotated.get(target.projection, 0))
            for target, rows in targets
        ]
        filling.add(pair.a, rank, inputs, [Rows(0, rank, 0)])
        filling.add(pair.b, outputs, rank, parts)
        a = frozen[begin:middle].reshape(rank, inputs)
        b = frozen[middle:end].reshape(outputs, rank)
        for target, rows in targets:
            factors[target] = Factor(a, b[rows], pair.scale)
        meaning += _PAIR_HEADER.pack(rank, inputs, outputs, pair.scale)
        meaning += pair.name.encode() + b"\0"
    filling.read()
    identity = Identity(bytes(meaning), filling.digests)
    return Adapter(identity, MappingProxyType(factors), whole.nbytes)


def _rotated_heads(base: AdapterBase) -> dict[Projection, int]:
    """The products whose heads' rows must be interleaved."""
    if not base.interleaved:
        return {}
    return {Projection.QUERY: base.head_count, Projection.KEY: base.kv_head_count}


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
