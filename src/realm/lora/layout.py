"""Where every number of an adapter stands in its file, and which factors they become.

Made once of pairs that were checked; adapters whose files begin alike have the same one. Plain
numbers are read by the native core, which lets Python's lock go meanwhile; whatever has to be
computed first, such as quantised blocks, the file's reader brings itself.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm.gguf.turns import in_turns
from realm.kernels import StoredFactors
from realm.lora.adapter import Projection, Target
from realm.lora.base import AdapterBase
from realm.lora.names import targets_of
from realm.lora.pair import Pair
from realm.lora.stored import STORED_TYPES, StoredNumbers

Stored = Callable[[str], StoredNumbers | None]

_BYTES = (4, 2, 2)  # of a number, by the stored types
_FLOAT32 = STORED_TYPES.index("F32")
_PAIR_HEADER = struct.Struct("<QQQBBd")
_DIGEST_TAG = b"realm adapter 2"

_HALVES = (Projection.QUERY, Projection.GATE, Projection.EMBEDDING, Projection.HEAD)
"""The first products of a layer's halves, attention and feed-forward; embedding and head stand for
themselves. The factors of a half are read, hashed and packed together."""


class ComputedMatrix(NamedTuple):
    """A tensor that the file's reader computes. begin, end: among the given numbers."""

    name: str
    begin: int
    end: int
    columns: int


class PlacedPair(NamedTuple):
    """Two matrices among all numbers, A from `begin` on and B behind it, and whose they are."""

    begin: int
    rank: int
    inputs: int
    outputs: int
    scale: float
    targets: tuple[tuple[Target, slice], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """stored: where each matrix stands, in parts: halves of layers. table: int64 [matrices, 8],
    what it was made of: position, type, rows, columns, heads (above 0, the rows of each are put in
    the order (0, half, 1, half + 1, ...)), whether it is turned, whether it is given, and its place
    among all numbers. names: of their tensors. computed: what must be given.
    targets: int64 [count, 8]: part, layer, projection, rank, inputs, outputs, places of A and B;
    scales: float32 [count].
    """

    stored: StoredFactors
    table: NDArray[np.int64]
    names: tuple[str, ...]
    computed: tuple[ComputedMatrix, ...]
    pairs: tuple[PlacedPair, ...]
    targets: NDArray[np.int64]
    scales: NDArray[np.float32]
    element_count: int
    meaning: bytes

    def digest(self, digests: bytes) -> bytes:
        """The adapter's. digests: of every part's numbers, as `StoredFactors.read` gives them."""
        return hashlib.sha256(_DIGEST_TAG + self.meaning + digests).digest()


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
        first = targets[0][0]
        half = max(each for each in _HALVES if each <= first.projection)
        plan.begin_part((first.layer, half))
        placed.append(PlacedPair(plan.end, rank, inputs, outputs, pair.scale, tuple(targets)))
        for target, rows in targets:
            plan.aim(placed[-1], target, rows)
        a_type = plan.add(pair.a, rank, inputs, [(0, rank, 0)])
        parts = [
            (rows.start, rows.stop - rows.start, rotated.get(target.projection, 0))
            for target, rows in targets
        ]
        b_type = plan.add(pair.b, outputs, rank, parts)
        meaning += _PAIR_HEADER.pack(rank, inputs, outputs, a_type, b_type, pair.scale)
        meaning += pair.name.encode() + b"\0"
    return plan.layout(tuple(placed), bytes(meaning))


class _Plan:
    """Tensors of a file, one after another."""

    def __init__(self, stored: Stored) -> None:
        self.end = 0
        self._stored = stored
        self._table: list[tuple[int, ...]] = []
        self._names: list[str] = []
        self._computed: list[ComputedMatrix] = []
        self._part: object = None
        self._ends: list[int] = []  # of every part, in the table
        self._targets: list[tuple[int, ...]] = []
        self._scales: list[float] = []

    def begin_part(self, key: object) -> None:
        """What is added from now on belongs to this part."""
        if key != self._part:
            self._part = key
            self._ends.append(len(self._table))

    def aim(self, pair: PlacedPair, target: Target, rows: slice) -> None:
        """The pair, which is added next, changes this product by these rows of its B."""
        outputs = rows.stop - rows.start
        b = pair.begin + pair.rank * (pair.inputs + rows.start)
        place = (len(self._ends) - 1, target.layer or 0, int(target.projection))
        self._targets.append((*place, pair.rank, pair.inputs, outputs, pair.begin, b))
        self._scales.append(pair.scale)

    def add(self, name: str, rows: int, columns: int, parts: list[tuple[int, int, int]]) -> int:
        """The next rows x columns numbers are this tensor's; their type. parts: of all its rows, in
        order: the first, how many, heads."""
        begin = self.end
        self.end += rows * columns
        stored = self._stored(name)
        if stored is None:
            given = self._computed[-1].end if self._computed else 0
            self._computed.append(ComputedMatrix(name, given, given + rows * columns, columns))
            self._append(name, 4 * given, _FLOAT32, rows, columns, 0, 0, 1, begin)
            return _FLOAT32
        position, dtype, is_turned = stored
        if is_turned:
            self._append(name, position, dtype, columns, rows, 0, 1, 0, begin)
            return dtype
        row_bytes = columns * _BYTES[dtype]
        for first, count, heads in parts:
            start, place = position + first * row_bytes, begin + first * columns
            self._append(name, start, dtype, count, columns, heads, 0, 0, place)
        return dtype

    def layout(self, pairs: tuple[PlacedPair, ...], meaning: bytes) -> Layout:
        """Of all that was added."""
        table = np.array(self._table, np.int64)
        return Layout(
            stored=StoredFactors(table, np.array(self._ends, np.int64)),
            table=table,
            names=tuple(self._names),
            computed=tuple(self._computed),
            pairs=pairs,
            targets=np.array(self._targets, np.int64),
            scales=np.array(self._scales, np.float32),
            element_count=self.end,
            meaning=meaning,
        )

    def _append(self, name: str, *row: int) -> None:
        self._names.append(name)
        self._table.append(row)
        self._ends[-1] = len(self._table)


def _rotated_heads(base: AdapterBase) -> dict[Projection, int]:
    """The products whose heads' rows must be interleaved."""
    if not base.interleaved:
        return {}
    return {Projection.QUERY: base.head_count, Projection.KEY: base.kv_head_count}
