"""Random adapters for any base; the same numbers for the same seed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from realm.lora import Adapter, AdapterBase, Factor, Projection, Target

P = Projection
LINEAR = (P.QUERY, P.KEY, P.VALUE, P.OUTPUT, P.GATE, P.UP, P.DOWN)
EVERYTHING = tuple(P)
NAMES = {
    P.QUERY: "attn_q",
    P.KEY: "attn_k",
    P.VALUE: "attn_v",
    P.OUTPUT: "attn_output",
    P.GATE: "ffn_gate",
    P.UP: "ffn_up",
    P.DOWN: "ffn_down",
}
SCALE = 0.75
"""Of every factor; no power of two, yet it keeps short numbers short."""


def shapes_of(base: AdapterBase) -> Mapping[Projection, tuple[int, int]]:
    """Outputs and inputs of every product, also of parts of fused tensors."""
    hidden, queries, keys = base.hidden_size, base.query_rows, base.key_rows
    ffn = base.shapes["blk.0.ffn_down.weight"][1]
    return {
        P.QUERY: (queries, hidden),
        P.KEY: (keys, hidden),
        P.VALUE: (keys, hidden),
        P.OUTPUT: (hidden, queries),
        P.GATE: (ffn, hidden),
        P.UP: (ffn, hidden),
        P.DOWN: (hidden, ffn),
        P.EMBEDDING: (hidden, base.vocabulary_size),
        P.HEAD: (base.vocabulary_size, hidden),
    }


def random_adapter(
    base: AdapterBase,
    projections: Collection[Projection] = LINEAR,
    *,
    rank: int | Mapping[Projection, int] = 4,
    seed: int = 0,
    strength: float = 0.3,
    layers: Collection[int] | None = None,
) -> Adapter:
    """strength: about how large scale B (A x) is where x has variance one. layers: None takes all.

    A, B and scale x B have at most eight significant bits: bfloat16 holds them as they are.
    """
    shapes = shapes_of(base)
    factors: dict[Target, Factor] = {}
    for target in _targets(base, projections, layers):
        outputs, inputs = shapes[target.projection]
        ranks = rank if isinstance(rank, int) else rank[target.projection]
        rng = np.random.default_rng((seed, *(n + 1 for n in target.order)))
        # One column of the embedding's A is taken, not a sum over all of them.
        size = 1.0 if target.projection == P.EMBEDDING else inputs**-0.5
        a = rng.standard_normal((ranks, inputs)) * size
        b = rng.standard_normal((outputs, ranks)) * strength * ranks**-0.5 / SCALE
        factors[target] = Factor(short(a, 7), short(b, 5), SCALE)
    return Adapter(_digest(factors), MappingProxyType(factors), _bytes(factors))


def short(values: NDArray[np.float64], bits: int) -> NDArray[np.float32]:
    """Rounded to so many significant bits."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(mantissa * 2**bits), exponent - bits).astype(np.float32)


def _targets(
    base: AdapterBase, projections: Collection[Projection], layers: Collection[int] | None
) -> list[Target]:
    places = range(base.layer_count) if layers is None else layers
    found = [Target(None, each) for each in projections if each in (P.EMBEDDING, P.HEAD)]
    found += [Target(layer, each) for layer in places for each in projections if each <= P.DOWN]
    return sorted(found, key=lambda target: target.order)


def _digest(factors: Mapping[Target, Factor]) -> bytes:
    digest = hashlib.sha256()
    for target, factor in factors.items():
        digest.update(repr((target.order, factor.a.shape, factor.scale)).encode())
        digest.update(factor.a.tobytes() + factor.b.tobytes())
    return digest.digest()


def _bytes(factors: Mapping[Target, Factor]) -> int:
    return sum(factor.a.nbytes + factor.b.nbytes for factor in factors.values())
