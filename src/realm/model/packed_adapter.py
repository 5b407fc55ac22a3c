"""Adapters as the native core takes them, and the rows of a step that they are added to.

A packed adapter never changes. It keeps nothing of the arrays that it was made from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from realm.errors import NativeError, RequestError
from realm.kernels import NativeAdapter, SideWork, Transformer
from realm.lora import Adapter, AdapterFile

AdapterPrecision = Literal["int8", "bfloat16"]
MOST_ADAPTERS = 8  # of one sequence


@dataclass(frozen=True, slots=True, eq=False)
class PackedAdapter:
    """digest: the adapter's content, its identity. model: content hash of the base.
    precision: how its numbers are held, and so which bits come out."""

    native: NativeAdapter
    digest: bytes
    model: str
    precision: AdapterPrecision

    @property
    def byte_size(self) -> int:
        """Bytes that it holds."""
        return self.native.bytes


@dataclass(frozen=True, slots=True)
class WeightedAdapter:
    """An adapter on a request: weight times its own scale. A sequence may have several."""

    packed: PackedAdapter
    weight: float = 1.0

    @property
    def key(self) -> tuple[bytes, float]:
        """What the numbers computed with it depend on."""
        return self.packed.digest + self.packed.precision.encode(), self.weight


@dataclass(frozen=True, slots=True, eq=False)
class AdapterRows:
    """The arguments of `Transformer.step` that say what is added to which rows.

    natives: each once. runs: int32 [runs, 4]: adapter, first row, row count, slot (its place among
    its rows' adapters). weights: float32 [runs]. Both None: nothing is added to any row.
    """

    natives: list[NativeAdapter]
    runs: NDArray[np.int32] | None
    weights: NDArray[np.float32] | None


_NO_ADAPTERS = AdapterRows([], None, None)


def pack_adapter(
    native: Transformer, model: str, adapter: Adapter, precision: AdapterPrecision = "int8"
) -> PackedAdapter:
    """precision: 'int8' holds A as int8 with a scale for 32 inputs and B with one for an output,
    'bfloat16' both as bfloat16. Any thread. Raises NativeError for numbers that do not fit."""
    factors = [
        (target.layer or 0, int(target.projection), factor.a, factor.b, factor.scale)
        for target, factor in adapter.factors.items()
    ]
    packed = NativeAdapter(native, precision=precision, factors=factors)
    return PackedAdapter(packed, adapter.digest, model, precision)


def pack_adapter_file(
    native: Transformer,
    model: str,
    file: AdapterFile,
    side_work: SideWork,
    precision: AdapterPrecision = "int8",
) -> PackedAdapter:
    """The same, straight from its file, by the threads that do this side work.

    Raises the AdapterError of `AdapterFile.read` as well.
    """
    layout = file.layout
    packed, digests = NativeAdapter.load(
        native,
        side_work=side_work,
        precision=precision,
        stored=layout.stored,
        targets=layout.targets,
        scales=layout.scales,
        descriptor=file.descriptor,
        given=file.given,
    )
    if packed is None:
        file.read()  # raises for what is wrong in the file, and names it
        raise NativeError(
            "a factor holds numbers too large for the precision, or changed meanwhile"
        )
    return PackedAdapter(packed, layout.digest(digests), model, precision)


def check_adapters(model: str, adapters: Sequence[WeightedAdapter]) -> None:
    """Raises RequestError for what cannot be added to the model of this content hash."""
    if len(adapters) > MOST_ADAPTERS:
        raise RequestError(f"{len(adapters)} adapters on one sequence, at most {MOST_ADAPTERS}")
    for each in adapters:
        if each.packed.model != model:
            raise RequestError("an adapter was packed for another model")
        if not isfinite(each.weight):
            raise RequestError(f"an adapter's weight must be a finite number, not {each.weight}")


def adapter_rows(rows: Sequence[tuple[int, Sequence[WeightedAdapter]]]) -> AdapterRows:
    """rows: in order, how many rows come next and what is added to them.

    Neighbours with one adapter at one weight become one run.
    """
    if not any(adapters for _, adapters in rows):
        return _NO_ADAPTERS
    places: dict[int, int] = {}
    natives: list[NativeAdapter] = []
    runs: list[list[int]] = []
    weights: list[float] = []
    for slot in range(max(len(adapters) for _, adapters in rows)):
        first, open_run = 0, False
        for count, adapters in rows:
            if slot >= len(adapters):
                open_run = False
            else:
                native, weight = adapters[slot].packed.native, adapters[slot].weight
                place = places.setdefault(id(native), len(natives))
                if place == len(natives):
                    natives.append(native)
                if open_run and runs[-1][0] == place and weights[-1] == weight:
                    runs[-1][2] += count
                else:
                    runs.append([place, first, count, slot])
                    weights.append(weight)
                    open_run = True
            first += count
    return AdapterRows(natives, np.array(runs, np.int32), np.array(weights, np.float32))
