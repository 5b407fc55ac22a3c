"""An adapter whose file is open: checked against the base, its numbers not read yet."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import numpy as np

from realm.errors import AdapterFormatError, AdapterOpenError
from realm.lora.adapter import Adapter, Factor, Floats, Target
from realm.lora.document import at_tensor
from realm.lora.layout import Layout

Compute = Callable[[str, Floats], None]

_FILE_ENDS, _SYSTEM_FAILS = 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class AdapterFile:
    """layout: where its numbers stand. descriptor: of the open file. path: what errors call it.
    given: float32, the numbers that no file holds as they are; None without any."""

    layout: Layout
    descriptor: int
    path: Path
    given: Floats | None = None

    def read(self) -> Adapter:
        """All of it as float32, in memory of its own.

        Raises AdapterFormatError for a number that is none and when the file ends too early,
        AdapterOpenError when it cannot be read; both name the tensor.
        """
        layout = self.layout
        whole = np.empty(layout.element_count, np.float32)
        fault, digests = layout.stored.read(self.descriptor, whole, self.given)
        if fault[0]:
            self._refuse(whole, fault)
        whole.setflags(write=False)
        factors: dict[Target, Factor] = {}
        for pair in layout.pairs:
            middle = pair.begin + pair.rank * pair.inputs
            end = middle + pair.outputs * pair.rank
            a = whole[pair.begin : middle].reshape(pair.rank, pair.inputs)
            b = whole[middle:end].reshape(pair.outputs, pair.rank)
            for target, rows in pair.targets:
                factors[target] = Factor(a, b[rows], pair.scale)
        return Adapter(layout.digest(digests), MappingProxyType(factors), whole.nbytes)

    def _refuse(self, whole: Floats, fault: tuple[int, int, int]) -> NoReturn:
        kind, index, at = fault
        name = self.layout.names[index]
        where = at_tensor(str(self.path), name)
        if kind == _FILE_ENDS:
            raise AdapterFormatError(f"{where}: the file ends within it, at byte {at}")
        if kind == _SYSTEM_FAILS:
            raise AdapterOpenError(f"{where}: cannot be read: {os.strerror(at)}")
        _, _, rows, columns, _, _, _, begin = self.layout.table[index].tolist()
        refuse_number(self.path, name, whole[begin : begin + rows * columns])


def compute_given(layout: Layout, path: Path, compute: Compute) -> Floats | None:
    """The numbers that must be computed first. compute: fills a float32 matrix with the tensor of
    that name. Raises AdapterFormatError, naming the tensor, for a number that is none."""
    if not layout.computed:
        return None
    given = np.empty(layout.computed[-1].end, np.float32)
    for each in layout.computed:
        out = given[each.begin : each.end]
        compute(each.name, out.reshape(-1, each.columns))
        if not np.isfinite(out).all():
            refuse_number(path, each.name, out)
    return given


def refuse_number(path: Path, name: str, numbers: Floats) -> NoReturn:
    """Raises AdapterFormatError for the first of the tensor's numbers that is none."""
    number = numbers[int(np.argmin(np.isfinite(numbers)))]
    raise AdapterFormatError(f"{at_tensor(str(path), name)}: it holds {number}")
