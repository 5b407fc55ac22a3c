"""Two tensors of a file that belong together, checked against the base before one is read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from realm.errors import AdapterFormatError, AdapterMismatchError
from realm.gguf.turns import in_turns
from realm.lora.base import EMBEDDING_NAME, AdapterBase
from realm.lora.document import shown

LARGEST_RANK = 512
_LARGEST_SCALE = float(np.finfo(np.float32).max)


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
