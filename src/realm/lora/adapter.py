"""An adapter in memory: which products it changes, by which factors, and what it is called.

Plain data that never changes. It has no name: an adapter is its content, and whoever gives it a
name keeps that elsewhere. Nothing here reads a file or multiplies anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_NO_LAYER = -1


class Projection(IntEnum):
    """A product of the decoder that an adapter may change."""

    QUERY = 0
    KEY = 1
    VALUE = 2
    OUTPUT = 3
    GATE = 4
    UP = 5
    DOWN = 6
    EMBEDDING = 7
    HEAD = 8


class Target(NamedTuple):
    """One product of one layer. layer: None for the embedding and the head."""

    layer: int | None
    projection: Projection

    @property
    def order(self) -> tuple[int, int]:
        """Where it stands among others: what belongs to no layer comes first."""
        return (_NO_LAYER if self.layer is None else self.layer, int(self.projection))


@dataclass(frozen=True, slots=True, eq=False)
class Factor:
    """W' = W + scale (b a), W in the row order of the base's GGUF file.

    a: float32 [rank, inputs], b: float32 [outputs, rank], C order, not writable. scale: the
    adapter's own (alpha over the rank or its root); a request's weight multiplies it.
    For the embedding, inputs are the vocabulary: a token's row changes by scale (b a[:, token]),
    before the model scales it. Parts of one fused product share the same `a` object.
    """

    a: Floats
    b: Floats
    scale: float

    @property
    def rank(self) -> int:
        """Columns between the two."""
        return int(self.a.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Adapter:
    """What `load_adapter` returns.

    digest: 32 bytes that depend on the products, the factors' bits as they are stored and their
    scales, and on nothing else: the same adapter from a PEFT folder and from a GGUF file has one.
    factors: in the order of `Target.order`, never empty; all are views of one array.
    byte_size: of the float32 factors; what fused products share counts once.
    """

    digest: bytes
    factors: Mapping[Target, Factor]
    byte_size: int

    @property
    def largest_rank(self) -> int:
        """The highest rank of all factors."""
        return max(factor.rank for factor in self.factors.values())

    @property
    def parameter_count(self) -> int:
        """Numbers that were trained; what fused products share counts once."""
        return self.byte_size // 4
