"""Factors read out of a file and hashed by the native core, against NumPy and blake3."""

import errno
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.dealt import dealt_blake3

from realm.errors import NativeError
from realm.kernels import StoredFactors

FLOAT32, FLOAT16, BFLOAT16 = 0, 1, 2
DONE, ENDS, FAILS, ENDLESS = 0, 1, 2, 3
Row = tuple[int, ...]
"""position, type, rows, columns, heads, whether it is turned, whether it is given, place"""


class Stored:
    """A file, open until the test's end."""

    def __init__(self, path: Path, opened: ExitStack) -> None:
        self._path, self._opened = path, opened

    def read(
        self,
        content: bytes,
        *rows: Row,
        ends: tuple[int, ...] = (),
        given: NDArray[np.float32] | None = None,
    ) -> tuple[NDArray[np.float32], tuple[int, int, int], bytes]:
        """The numbers, -1 where nothing was read, the outcome, and the digests. ends: of parts;
        without them all is one."""
        self._path.write_bytes(content)
        numbers = np.full(sum(row[2] * row[3] for row in rows), -1, np.float32)
        descriptor = self._opened.enter_context(self._path.open("rb")).fileno()
        table = np.array(rows, np.int64)
        factors = StoredFactors(table, np.array(ends or [len(rows)], np.int64))
        outcome, digests = factors.read(descriptor, numbers, given)
        return numbers, outcome, digests


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
    numbers, outcome, digests = file.read(content, (0, FLOAT16, 1, finite.size, 0, 0, 0, 0))
    assert outcome == (DONE, 0, 0)
    assert numbers.tobytes() == finite.view(np.float16).astype(np.float32).tobytes()
    assert digests == dealt_blake3(content)


def test_every_bfloat16(file: Stored) -> None:
    wide = every_half().astype(np.uint32) << 16
    finite = wide[np.isfinite(wide.view(np.float32))]
    content = (finite >> 16).astype(np.uint16).tobytes()
    numbers, outcome, digests = file.read(content, (0, BFLOAT16, finite.size, 1, 0, 0, 0, 0))
    assert outcome == (DONE, 0, 0)
    assert numbers.tobytes() == finite.tobytes()
    assert digests == dealt_blake3(content)


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT16, BFLOAT16])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 5, 32, 36])
def test_numbers_that_are_none(file: Stored, dtype: int, number: float, place: int) -> None:
    """The first matrix with one is named, and all of it is there."""
    values = np.arange(3 * 37, dtype=np.float32)
    values[37 + place] = number
    content = {
        FLOAT32: values.tobytes(),
        FLOAT16: values.astype(np.float16).tobytes(),
        BFLOAT16: (values.view(np.uint32) >> 16).astype(np.uint16).tobytes(),
    }[dtype]
    size = 4 if dtype == FLOAT32 else 2
    rows = [(37 * size * i, dtype, 37, 1, 0, 0, 0, 37 * i) for i in range(3)]
    numbers, outcome, _ = file.read(content, *rows)
    assert outcome == (ENDLESS, 1, 0)
    np.testing.assert_array_equal(numbers[: 2 * 37], values[: 2 * 37])
    assert (numbers[2 * 37 :] == -1).all()


@pytest.mark.parametrize("dtype", ["<f4", "<f2"])
def test_turned_and_interleaved(file: Stored, dtype: str) -> None:
    """From the middle of a file; hashed in the order that the numbers have afterwards."""
    values = np.random.default_rng(1).standard_normal((4096, 24)).astype(dtype)
    content, kind, heads = b"front" + values.tobytes(), FLOAT32 if dtype == "<f4" else FLOAT16, 8
    turned, outcome, digests = file.read(content, (5, kind, 4096, 24, 0, 1, 0, 0))
    assert outcome == (DONE, 0, 0)
    np.testing.assert_array_equal(turned.reshape(24, 4096), values.T)
    assert digests == dealt_blake3(values.T.tobytes())
    mixed, _, digests = file.read(content, (5, kind, 4096, 24, heads, 0, 0, 0))
    halves = values.reshape(heads, 2, 4096 // heads // 2, 24).swapaxes(1, 2)
    assert mixed.tobytes() == halves.astype(np.float32).tobytes()
    assert digests == dealt_blake3(halves.tobytes())


def test_parts_and_given_numbers(file: Stored) -> None:
    """A digest for each part; what is given counts as float32."""
    stored = np.random.default_rng(2).standard_normal((3, 40)).astype(np.float16)
    given = np.random.default_rng(3).standard_normal(100).astype(np.float32)
    rows = [
        (0, FLOAT16, 1, 40, 0, 0, 0, 0),
        (4 * 20, FLOAT32, 8, 10, 0, 0, 1, 40),
        (80, FLOAT16, 2, 40, 0, 0, 0, 120),
    ]
    numbers, outcome, digests = file.read(stored.tobytes(), *rows, ends=(2, 3), given=given)
    assert outcome == (DONE, 0, 0)
    expected = [stored[0].astype(np.float32), given[20:], stored[1:].astype(np.float32).ravel()]
    np.testing.assert_array_equal(numbers, np.concatenate(expected))
    first = dealt_blake3(stored[0].tobytes() + given[20:].tobytes())
    assert digests == first + dealt_blake3(stored[1:].tobytes())
    with pytest.raises(NativeError, match="given"):
        file.read(stored.tobytes(), *rows, given=given[:-1])
    with pytest.raises(NativeError, match="given"):
        file.read(stored.tobytes(), *rows)


def test_a_file_that_ends(file: Stored) -> None:
    rows = [(0, FLOAT32, 5, 4, 0, 0, 0, 0), (80, FLOAT16, 2, 16, 0, 0, 0, 20)]
    _, outcome, _ = file.read(bytes(100), *rows)
    assert outcome == (ENDS, 1, 100)


def test_a_file_that_cannot_be_read() -> None:
    table, ends = np.array([[0, 0, 1, 4, 0, 0, 0, 0]], np.int64), np.array([1], np.int64)
    outcome, _ = StoredFactors(table, ends).read(-1, np.zeros(4, np.float32))
    assert outcome == (FAILS, 0, errno.EBADF)


TABLES: dict[str, list[int]] = {
    "a position below zero": [-1, 0, 2, 2, 0, 0, 0, 0],
    "a position beyond any file": [1 << 62, 0, 2, 2, 0, 0, 0, 0],
    "no such type": [0, 3, 2, 2, 0, 0, 0, 0],
    "a type below zero": [0, -1, 2, 2, 0, 0, 0, 0],
    "no rows": [0, 0, 0, 2, 0, 0, 0, 0],
    "columns below zero": [0, 0, 2, -2, 0, 0, 0, 0],
    "a size that overflows": [0, 0, 1 << 33, 1 << 31, 0, 0, 0, 0],
    "heads below zero": [0, 0, 2, 2, -1, 0, 0, 0],
    "heads without two halves": [0, 0, 6, 1, 2, 0, 0, 0],
    "turned and of heads": [0, 0, 2, 2, 1, 1, 0, 0],
    "turned twice": [0, 0, 2, 2, 0, 2, 0, 0],
    "given in half floats": [0, 1, 2, 2, 0, 0, 1, 0],
    "given between numbers": [2, 0, 2, 2, 0, 0, 1, 0],
    "given twice": [0, 0, 2, 2, 0, 0, 2, 0],
    "a place before the first": [0, 0, 2, 2, 0, 0, 0, -1],
    "a gap": [0, 0, 2, 2, 0, 0, 0, 5],
    "seven numbers": [0, 0, 2, 2, 0, 0, 0],
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str) -> None:
    with pytest.raises(NativeError):
        StoredFactors(np.array([TABLES[name]], np.int64), np.array([1], np.int64))


@pytest.mark.parametrize("ends", [[], [0], [1], [2, 2], [2, 1], [3], [-1, 2]])
def test_parts_that_are_not_all(ends: list[int]) -> None:
    table = np.array([[0, 0, 1, 4, 0, 0, 0, 0], [16, 0, 1, 4, 0, 0, 0, 4]], np.int64)
    with pytest.raises(NativeError):
        StoredFactors(table, np.array(ends, np.int64))


def test_an_array_of_another_size() -> None:
    factors = StoredFactors(np.array([[0, 0, 1, 4, 0, 0, 0, 0]], np.int64), np.array([1], np.int64))
    with pytest.raises(NativeError, match="size"):
        factors.read(0, np.zeros(5, np.float32))
