"""Arrays of strings, such as a vocabulary: kept as bytes, decoded one by one when asked.

Reading one finds where each string begins and makes no Python string, so that a vocabulary of
hundreds of thousands of tokens opens in milliseconds.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator, Sequence
from typing import overload

from realm.errors import GGUFCountError, GGUFError
from realm.gguf import limits
from realm.gguf.cursor import Cursor

_LENGTH = struct.Struct("<Q")
_LENGTH_BYTES = _LENGTH.size


class StringArray(Sequence[str]):
    """A read-only sequence of strings that outlives the file it came from.

    A string that is not UTF-8 is not lost: `[]` gives its stray bytes as lone surrogates
    (`errors="surrogateescape"`), and `bytes_at` gives the bytes themselves.
    """

    __slots__ = ("_bytes", "_starts")

    def __init__(self, data: bytes, starts: array[int]) -> None:
        """data: the strings with an 8-byte length before each. starts: where each one begins."""
        self._bytes = data
        self._starts = starts

    def __len__(self) -> int:
        return len(self._starts)

    def bytes_at(self, index: int) -> bytes:
        """The bytes of one string; IndexError as for a list."""
        count = len(self._starts)
        if index < 0:
            index += count
        if not 0 <= index < count:
            raise IndexError(f"string {index} of {count}")
        last = index + 1 == count
        end = len(self._bytes) if last else self._starts[index + 1] - _LENGTH_BYTES
        return self._bytes[self._starts[index] : end]

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        return self.bytes_at(index).decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        for data in self.iterate_bytes():
            yield data.decode("utf-8", "surrogateescape")

    def iterate_bytes(self) -> Iterator[bytes]:
        """The bytes of every string, in order."""
        data = self._bytes
        start = _LENGTH_BYTES
        for following in self._starts[1:]:
            yield data[start : following - _LENGTH_BYTES]
            start = following
        if self._starts:
            yield data[start:]

    def to_list(self) -> list[str]:
        """Every string, decoded."""
        return list(self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, StringArray):
            return self._bytes == other._bytes
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __repr__(self) -> str:
        return f"StringArray({len(self)} strings)"


def read_strings(cursor: Cursor) -> StringArray:
    """A count and that many strings. Decodes none of them."""
    count = cursor.count(
        "count of a string array", limits.STRING_ARRAY_ELEMENTS, smallest_bytes=_LENGTH_BYTES
    )
    starts = array("q")
    with cursor.view[cursor.position :] as rest:
        length_bytes = _find_starts(rest, count, starts)
    if length_bytes > cursor.remaining:
        raise _past_the_end(cursor, starts)
    return StringArray(cursor.take(length_bytes, "a string array"), starts)


def _find_starts(rest: memoryview, count: int, starts: array[int]) -> int:
    """Append where each string begins; the bytes of them all, or too many when one is too long."""
    unpack, append = _LENGTH.unpack_from, starts.append
    last_length = len(rest) - _LENGTH_BYTES
    position = 0
    for _ in range(count):
        if position > last_length:
            return position + _LENGTH_BYTES
        (length,) = unpack(rest, position)
        position += _LENGTH_BYTES
        append(position)
        position += length
    return position


def _past_the_end(cursor: Cursor, starts: array[int]) -> GGUFError:
    """The error of the last string found, or of the length that should follow it."""
    index = len(starts) - 1
    cursor.position += starts[index]
    length: int = _LENGTH.unpack_from(cursor.view, cursor.position - _LENGTH_BYTES)[0]
    if length > limits.HEADER_BYTES:
        text = f"length of string {index} of an array is {length}"
        return cursor.fault(GGUFCountError, text, cursor.position - _LENGTH_BYTES)
    if length > cursor.remaining:
        return cursor.too_short(length, f"string {index} of an array", cursor.position)
    cursor.position += length
    return cursor.too_short(_LENGTH_BYTES, f"length of string {index + 1} of an array")
