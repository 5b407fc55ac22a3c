"""Where the numbers of an adapter stand in its file, and reading them.

Plain numbers are read by the native core, which lets Python's lock go meanwhile; whatever has to be
computed first, such as quantised blocks, the file's reader brings itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn, Protocol

import numpy as np

from realm.errors import AdapterFormatError, AdapterOpenError
from realm.kernels import FactorArray
from realm.lora.adapter import Floats
from realm.lora.document import at_tensor

STORED_TYPES = ("F32", "F16", "BF16")
"""Types of plain numbers, as the native core counts them."""

_BYTES = (4, 2, 2)
_FILE_ENDS, _SYSTEM_FAILS = 1, 2


class StoredNumbers(NamedTuple):
    """Plain numbers in a file. position: of the first byte. dtype: an index of STORED_TYPES.
    is_turned: it stands there with rows and columns exchanged."""

    position: int
    dtype: int
    is_turned: bool


class FactorFile(Protocol):
    """An open file with factors."""

    @property
    def descriptor(self) -> int:
        """To read by position."""

    @property
    def path(self) -> Path:
        """What it is called."""

    def stored(self, name: str) -> StoredNumbers | None:
        """Where a tensor's numbers stand; None where they must be computed."""

    def compute(self, name: str, out: Floats) -> None:
        """Fills `out`, float32 of the factor's shape, with a tensor that is not stored so."""


class Rows(NamedTuple):
    """A part of a tensor's rows. heads: above 0, the rows of each are put in the order
    (0, half, 1, half + 1, ...)."""

    first: int
    row_count: int
    heads: int


class Filling:
    """Tensors of a file, one after another into one array, which is hashed meanwhile.

    whole: float32 [numbers]. Tensors are added and then read together, in the order in which they
    were added. Errors name the tensor.
    """

    __slots__ = ("_array", "_end", "_file", "_names", "_table", "_whole")

    def __init__(self, file: FactorFile, whole: Floats) -> None:
        self._file = file
        self._whole = whole
        self._table: list[tuple[int, ...]] = []
        self._names: list[str] = []
        self._array = FactorArray(whole)
        self._end = 0

    def add(self, name: str, rows: int, columns: int, parts: Sequence[Rows]) -> None:
        """The next rows x columns numbers are this tensor's. parts: all of its rows, in order."""
        begin = self._end
        self._end += rows * columns
        stored = self._file.stored(name)
        if stored is None:
            self._compute(name, begin, columns)
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

    def digests(self) -> bytes:
        """SHA-256 of every 4 MiB of the array; waits until all of it is hashed. Any thread."""
        return self._array.digests()

    def read(self) -> None:
        """Read what was added.

        Raises AdapterFormatError for a number that is none and when the file ends too early,
        AdapterOpenError when it cannot be read.
        """
        if self._table:
            table = np.array(self._table, np.int64)
            fault, index, at = self._array.read(self._file.descriptor, table)
            if fault:
                self._refuse(fault, index, at)
        self._table, self._names = [], []

    def _compute(self, name: str, begin: int, columns: int) -> None:
        self.read()
        out = self._whole[begin : self._end]
        self._file.compute(name, out.reshape(-1, columns))
        if not np.isfinite(out).all():
            self._refuse_number(name, out)
        self._array.filled(self._end)

    def _refuse(self, fault: int, index: int, at: int) -> NoReturn:
        where = at_tensor(str(self._file.path), self._names[index])
        if fault == _FILE_ENDS:
            raise AdapterFormatError(f"{where}: the file ends within it, at byte {at}")
        if fault == _SYSTEM_FAILS:
            raise AdapterOpenError(f"{where}: cannot be read: {os.strerror(at)}")
        _, _, rows, columns, _, _, begin = self._table[index]
        self._refuse_number(self._names[index], self._whole[begin : begin + rows * columns])

    def _refuse_number(self, name: str, numbers: Floats) -> NoReturn:
        number = numbers[int(np.argmin(np.isfinite(numbers)))]
        raise AdapterFormatError(f"{at_tensor(str(self._file.path), name)}: it holds {number}")
