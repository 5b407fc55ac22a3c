"""Factors read out of a file and hashed by the native core, against NumPy and hashlib."""

import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from realm.errors import NativeError
from realm.kernels import FactorArray

CHUNK = 4 << 20
FLOAT32, FLOAT16, BFLOAT16 = 0, 1, 2
DONE, ENDS, FAILS, ENDLESS = 0, 1, 2, 3


class Stored:
    """A file, open until the test's end."""

    def __init__(self, path: Path, opened: ExitStack) -> None:
        self._path, self._opened = path, opened

    def read(
        self, content: bytes, count: int, *rows: tuple[int, ...]
    ) -> tuple[NDArray[np.float32], object]:
        """`count` numbers, -1 where nothing was read, and the outcome."""
        self._path.write_bytes(content)
        numbers = np.full(count, -1, np.float32)
        descriptor = self._opened.enter_context(self._path.open("rb")).fileno()
        return numbers, FactorArray(numbers).read(descriptor, np.array(rows, np.int64))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Stored]:
    with ExitStack() as opened:
        yield Stored(tmp_path / "file", opened)


def every_half() -> NDArray[np.uint16]:
    return np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)


def test_every_half_float(file: Stored) -> None:
    halves = every_half()
    finite = halves[np.isfinite(halves.view(np.float16))]
    content = finite.tobytes()
    numbers, outcome = file.read(content, finite.size, (0, FLOAT16, 1, finite.size, 0, 0, 0))
    assert outcome == (DONE, 0, 0)
    assert numbers.tobytes() == finite.view(np.float16).astype(np.float32).tobytes()


def test_every_bfloat16(file: Stored) -> None:
    wide = every_half().astype(np.uint32) << 16
    finite = wide[np.isfinite(wide.view(np.float32))]
    content = (finite >> 16).astype(np.uint16).tobytes()
    numbers, outcome = file.read(content, finite.size, (0, BFLOAT16, finite.size, 1, 0, 0, 0))
    assert outcome == (DONE, 0, 0)
    assert numbers.tobytes() == finite.tobytes()


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT16, BFLOAT16])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none(file: Stored, dtype: int, number: float) -> None:
    """The first matrix with one is named, and all of it is there."""
    values = np.arange(3 * 37, dtype=np.float32)
    values[37 + 5] = number
    stored = {
        FLOAT32: values.tobytes(),
        FLOAT16: values.astype(np.float16).tobytes(),
        BFLOAT16: (values.view(np.uint32) >> 16).astype(np.uint16).tobytes(),
    }[dtype]
    size = 4 if dtype == FLOAT32 else 2
    content = stored
    rows = [(37 * size * i, dtype, 37, 1, 0, 0, 37 * i) for i in range(3)]
    numbers, outcome = file.read(content, values.size, *rows)
    assert outcome == (ENDLESS, 1, 0)
    np.testing.assert_array_equal(numbers[: 2 * 37], values[: 2 * 37])
    assert (numbers[2 * 37 :] == -1).all()


def test_turned_and_interleaved(file: Stored) -> None:
    """More than is read at once, from the middle of a file to the middle of the array."""
    values = np.random.default_rng(1).standard_normal((4096, 24)).astype(np.float32)
    content = b"front" + values.tobytes()
    turned, outcome = file.read(content, values.size + 2, (5, FLOAT32, 4096, 24, 0, 1, 1))
    assert outcome == (DONE, 0, 0)
    np.testing.assert_array_equal(turned[1:-1].reshape(24, 4096), values.T)
    assert turned[0] == turned[-1] == -1
    heads = 8
    mixed, _ = file.read(content, values.size, (5, FLOAT32, 4096, 24, heads, 0, 0))
    halves = values.reshape(heads, 2, 4096 // heads // 2, 24).swapaxes(1, 2)
    assert mixed.tobytes() == np.ascontiguousarray(halves).tobytes()


def test_a_file_that_ends(file: Stored) -> None:
    content = bytes(100)
    _, outcome = file.read(content, 64, (0, FLOAT32, 5, 4, 0, 0, 0), (80, FLOAT16, 2, 16, 0, 0, 20))
    assert outcome == (ENDS, 1, 100)


def test_a_file_that_cannot_be_read() -> None:
    array = FactorArray(np.zeros(4, np.float32))
    outcome = array.read(-1, np.array([[0, 0, 1, 4, 0, 0, 0]], np.int64))
    assert outcome == (FAILS, 0, errno.EBADF)


TABLES: dict[str, list[int]] = {
    "a position below zero": [-1, 0, 2, 2, 0, 0, 0],
    "a position beyond any file": [1 << 62, 0, 2, 2, 0, 0, 0],
    "no such type": [0, 3, 2, 2, 0, 0, 0],
    "a type below zero": [0, -1, 2, 2, 0, 0, 0],
    "no rows": [0, 0, 0, 2, 0, 0, 0],
    "columns below zero": [0, 0, 2, -2, 0, 0, 0],
    "a size that overflows": [0, 0, 1 << 33, 1 << 31, 0, 0, 0],
    "heads below zero": [0, 0, 2, 2, -1, 0, 0],
    "heads without two halves": [0, 0, 6, 1, 2, 0, 0],
    "turned and of heads": [0, 0, 2, 2, 1, 1, 0],
    "turned twice": [0, 0, 2, 2, 0, 2, 0],
    "before the array": [0, 0, 2, 2, 0, 0, -1],
    "past the array": [0, 0, 2, 2, 0, 0, 5],
    "six numbers": [0, 0, 2, 2, 0, 0],
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(file: Stored, name: str) -> None:
    content = bytes(64)
    with pytest.raises(NativeError):
        file.read(content, 8, tuple(TABLES[name]))
    with pytest.raises(NativeError):
        FactorArray(np.zeros(8, np.float32)).filled(9)


def digests_of(numbers: NDArray[np.float32]) -> bytes:
    stored = numbers.tobytes()
    chunks = [stored[i : i + CHUNK] for i in range(0, len(stored), CHUNK)]
    return b"".join(hashlib.sha256(chunk).digest() for chunk in chunks)


COUNTS = [1, 13, 14, 15, 16, 17, 29, 30, 31, 32, 33, 1000]
"""Around the ends of one and two blocks of SHA-256, 16 numbers each."""


@pytest.mark.parametrize(
    "count", [*COUNTS, *(CHUNK // 4 * n + m for n in (1, 2, 3) for m in (0, 5))]
)
def test_digests(count: int) -> None:
    numbers = np.random.default_rng(count).standard_normal(count, np.float32)
    array = FactorArray(numbers)
    for end in (count // 3, count // 2, count):
        array.filled(end)
    assert array.digests() == array.digests() == digests_of(numbers)


def test_digests_without_instructions_for_them() -> None:
    count = CHUNK // 4 + 3
    program = f"""
import numpy as np
from realm.kernels import FactorArray
for count in {[*COUNTS, count]}:
    array = FactorArray(np.arange(count, dtype=np.float32))
    array.filled(count)
    print(array.digests().hex())
"""
    environment = {**os.environ, "REALM_ISA": "scalar"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    expected = [digests_of(np.arange(n, dtype=np.float32)).hex() for n in [*COUNTS, count]]
    assert done.stdout.split() == expected


def test_an_array_that_was_never_filled_is_given_up() -> None:
    FactorArray(np.zeros(3 * CHUNK // 4, np.float32)).filled(CHUNK // 4)
