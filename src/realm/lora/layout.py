"""Where every number of an adapter stands in its file, and which factors they become.

Made once of pairs that were checked; adapters whose files begin alike have the same one. Plain
numbers are read by the native core, which lets Python's lock go meanwhile; whatever has to be
computed first, such as quantised blocks, the file's reader brings itself.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from realm.errors import AdapterFormatError, AdapterOpenError
from realm.gguf.turns import in_turns
from realm.kernels import FactorArray
from realm.lora.adapter import Adapter, Factor, Floats, Projection, Target
from realm.lora.base import AdapterBase
from realm.lora.document import at_tensor
from realm.lora.identity import Identity
from realm.lora.names import targets_of
from realm.lora.pair import Pair
from realm.lora.stored import StoredNumbers

Stored = Callable[[str], StoredNumbers | None]
Compute = Callable[[str, Floats], None]

_BYTES = (4, 2, 2)  # of a number, by the stored types
_FILE_ENDS, _SYSTEM_FAILS = 1, 2
_PAIR_HEADER = struct.Struct("<QQQd")


class PlainMatrices(NamedTuple):
    """Read together. table: int64 [matrices, 7]: position, type, rows, columns, heads (above 0, the
    rows of each are put in the order (0, half, 1, half + 1, ...)), whether it is turned, and its
    place in the array. names: of their tensors.
    """

    table: NDArray[np.int64]
    names: tuple[str, ...]


class ComputedMatrix(NamedTuple):
    """A tensor that the file's reader computes. begin, end: in the array."""

    name: str
    begin: int
    end: int
    columns: int


class PlacedPair(NamedTuple):
    """Two matrices in the array, A from `begin` on and B behind it, and whose they are."""

    begin: int
    rank: int
    inputs: int
    outputs: int
    scale: float
    targets: tuple[tuple[Target, slice], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """reads: in the array's order. element_count: of the array. meaning: of its numbers, for the
    digest."""

    reads: tuple[PlainMatrices | ComputedMatrix, ...]
    pairs: tuple[PlacedPair, ...]
    element_count: int
    meaning: bytes

    @property
    def is_plain(self) -> bool:
        """Whether reading it takes nothing but the file's descriptor."""
        return all(isinstance(each, PlainMatrices) for each in self.reads)


def lay_out(
    pairs: Sequence[Pair], base: AdapterBase, stored: Stored, *, interleave: bool
) -> Layout:
    """Of pairs that `check_pairs` passed.

    stored: where a tensor's numbers stand; None where they must be computed.
    interleave: rows of B for query and key stand in transformers' order and must become the base's.
    """
    sorted_pairs = [(targets_of(pair.name, base), pair) for pair in in_turns(pairs)]
    sorted_pairs.sort(key=lambda entry: entry[0][0][0].order)
    rotated = _rotated_heads(base) if interleave else {}
    plan = _Plan(stored)
    placed: list[PlacedPair] = []
    meaning = bytearray()
    for targets, pair in in_turns(sorted_pairs):
        (rank, inputs), outputs = pair.a_shape, pair.b_shape[0]
        placed.append(PlacedPair(plan.end, rank, inputs, outputs, pair.scale, tuple(targets)))
        plan.add(pair.a, rank, inputs, [(0, rank, 0)])
        parts = [
            (rows.start, rows.stop - rows.start, rotated.get(target.projection, 0))
            for target, rows in targets
        ]
        plan.add(pair.b, outputs, rank, parts)
        meaning += _PAIR_HEADER.pack(rank, inputs, outputs, pair.scale)
        meaning += pair.name.encode() + b"\0"
    return Layout(tuple(plan.reads()), tuple(placed), plan.end, bytes(meaning))


def read_factors(
    layout: Layout, descriptor: int, path: Path, compute: Compute | None = None
) -> Adapter:
    """The adapter. Its digest is still being computed when this returns.

    descriptor: of the open file; path: what errors call it. compute: fills a float32 matrix with
    the tensor of that name; needed where the layout is not plain.
    Raises AdapterFormatError for a number that is none and when the file ends too early,
    AdapterOpenError when it cannot be read; both name the tensor.
    """
    whole = np.empty(layout.element_count, np.float32)
    array = FactorArray(whole)
    for each in layout.reads:
        if isinstance(each, PlainMatrices):
            fault = array.read(descriptor, each.table)
            if fault[0]:
                _refuse(str(path), whole, each, fault)
        else:
            assert compute is not None
            out = whole[each.begin : each.end]
            compute(each.name, out.reshape(-1, each.columns))
            if not np.isfinite(out).all():
                _refuse_number(str(path), each.name, out)
            array.filled(each.end)
    frozen = whole.view()
    frozen.setflags(write=False)
    factors: dict[Target, Factor] = {}
    for pair in layout.pairs:
        middle = pair.begin + pair.rank * pair.inputs
        end = middle + pair.outputs * pair.rank
        a = frozen[pair.begin : middle].reshape(pair.rank, pair.inputs)
        b = frozen[middle:end].reshape(pair.outputs, pair.rank)
        for target, rows in pair.targets:
            factors[target] = Factor(a, b[rows], pair.scale)
    identity = Identity(layout.meaning, array.digests)
    return Adapter(identity, MappingProxyType(factors), whole.nbytes)


class _Plan:
    """Tensors of a file, one after another into one array."""

    def __init__(self, stored: Stored) -> None:
        self.end = 0
        self._stored = stored
        self._done: list[PlainMatrices | ComputedMatrix] = []
        self._table: list[tuple[int, ...]] = []
        self._names: list[str] = []

    def add(self, name: str, rows: int, columns: int, parts: list[tuple[int, int, int]]) -> None:
        """The next rows x columns numbers are this tensor's. parts: of all its rows, in order: the
        first, how many, heads."""
        begin = self.end
        self.end += rows * columns
        stored = self._stored(name)
        if stored is None:
            self._flush()
            self._done.append(ComputedMatrix(name, begin, self.end, columns))
            return
        position, dtype, is_turned = stored
        if is_turned:
            self._table.append((position, dtype, columns, rows, 0, 1, begin))
            self._names.append(name)
            return
        row_bytes = columns * _BYTES[dtype]
        for first, count, heads in parts:
            place = begin + first * columns
            self._table.append(
                (position + first * row_bytes, dtype, count, columns, heads, 0, place)
            )
            self._names.append(name)

    def reads(self) -> list[PlainMatrices | ComputedMatrix]:
        self._flush()
        return self._done

    def _flush(self) -> None:
        if self._table:
            table = np.array(self._table, np.int64)
            self._done.append(PlainMatrices(table, tuple(self._names)))
        self._table, self._names = [], []


def _rotated_heads(base: AdapterBase) -> dict[Projection, int]:
    """The products whose heads' rows must be interleaved."""
    if not base.interleaved:
        return {}
    return {Projection.QUERY: base.head_count, Projection.KEY: base.kv_head_count}


def _refuse(
    place: str, whole: Floats, matrices: PlainMatrices, fault: tuple[int, int, int]
) -> NoReturn:
    kind, index, at = fault
    name = matrices.names[index]
    where = at_tensor(place, name)
    if kind == _FILE_ENDS:
        raise AdapterFormatError(f"{where}: the file ends within it, at byte {at}")
    if kind == _SYSTEM_FAILS:
        raise AdapterOpenError(f"{where}: cannot be read: {os.strerror(at)}")
    _, _, rows, columns, _, _, begin = matrices.table[index].tolist()
    _refuse_number(place, name, whole[begin : begin + rows * columns])


def _refuse_number(place: str, name: str, numbers: Floats) -> NoReturn:
    number = numbers[int(np.argmin(np.isfinite(numbers)))]
    raise AdapterFormatError(f"{at_tensor(place, name)}: it holds {number}")
