"""Metadata values: scalars, strings, arrays of either, and arrays of arrays.

Every value is copied out of the file, so that metadata outlives it. No key is given a meaning here.

Source of the type numbers: the GGUF specification, `gguf_metadata_value_type`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from realm.errors import GGUFCountError, GGUFMetadataError
from realm.gguf import limits
from realm.gguf.cursor import Cursor, shown
from realm.gguf.strings import StringArray, read_strings

MetadataValue: TypeAlias = (
    "int | float | bool | str | NDArray[Any] | StringArray | tuple[MetadataValue, ...]"
)
"""Numeric arrays are read-only and one-dimensional; an array of arrays is a tuple."""

BOOL, STRING, ARRAY = 7, 8, 9

_SCALARS: Mapping[int, tuple[struct.Struct, np.dtype[Any]]] = MappingProxyType(
    {
        number: (struct.Struct(layout), np.dtype(name))
        for number, layout, name in (
            (0, "<B", "<u1"),
            (1, "<b", "<i1"),
            (2, "<H", "<u2"),
            (3, "<h", "<i2"),
            (4, "<I", "<u4"),
            (5, "<i", "<i4"),
            (6, "<f", "<f4"),
            (BOOL, "<B", "<u1"),
            (10, "<Q", "<u8"),
            (11, "<q", "<i8"),
            (12, "<d", "<f8"),
        )
    }
)


def read_metadata(cursor: Cursor, key_count: int) -> dict[str, MetadataValue]:
    """`key_count` keys and their values, in the file's order."""
    metadata: dict[str, MetadataValue] = {}
    reader = _ValueReader(cursor)
    for index in range(key_count):
        cursor.enter(f"metadata key {index}")
        start = cursor.position
        key = cursor.string("key", GGUFMetadataError, limits.NAME_BYTES)
        if not key:
            raise cursor.fault(GGUFMetadataError, "the key is empty", start)
        cursor.enter(f"metadata key {shown(key)}")
        if key in metadata:
            raise cursor.fault(GGUFMetadataError, "the key is there twice", start)
        metadata[key] = reader.value(cursor.u32("value type"), depth=0)
    return metadata


class _ValueReader:
    """Reads values, and counts the arrays within arrays of the whole file."""

    __slots__ = ("_cursor", "_nested_arrays")

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._nested_arrays = 0

    def value(self, kind: int, depth: int) -> MetadataValue:
        cursor = self._cursor
        if kind == STRING:
            return cursor.string("value", GGUFMetadataError)
        if kind == ARRAY:
            return self._array(depth + 1)
        scalar = _SCALARS.get(kind)
        if scalar is None:
            raise cursor.fault(GGUFMetadataError, f"unknown value type {kind}", cursor.position - 4)
        layout = scalar[0]
        (value,) = layout.unpack(cursor.take(layout.size, "value"))
        if kind != BOOL:
            return value  # type: ignore[no-any-return]
        if value > 1:
            raise cursor.fault(GGUFMetadataError, f"{value} is not a bool", cursor.position - 1)
        return bool(value)

    def _array(self, depth: int) -> MetadataValue:
        cursor = self._cursor
        start = cursor.position
        if depth > limits.ARRAY_DEPTH:
            text = f"arrays are nested deeper than {limits.ARRAY_DEPTH}"
            raise cursor.fault(GGUFMetadataError, text, start)
        kind = cursor.u32("element type of an array")
        if kind == STRING:
            return read_strings(cursor)
        if kind == ARRAY:
            return self._arrays(depth)
        scalar = _SCALARS.get(kind)
        if scalar is None:
            raise cursor.fault(GGUFMetadataError, f"unknown element type {kind}", start)
        kind_of_number = scalar[1]
        size = kind_of_number.itemsize
        count = cursor.count("count of an array", limits.HEADER_BYTES, size)
        values = np.frombuffer(cursor.take(count * size, "an array"), kind_of_number)
        if kind != BOOL:
            return values
        if values.size and values.max() > 1:
            raise cursor.fault(GGUFMetadataError, f"{values.max()} is not a bool", start)
        return values.view(np.bool_)

    def _arrays(self, depth: int) -> tuple[MetadataValue, ...]:
        cursor = self._cursor
        start = cursor.position
        count = cursor.count(
            "count of an array of arrays", limits.NESTED_ARRAYS, limits.SMALLEST_ARRAY_BYTES
        )
        self._nested_arrays += count
        if self._nested_arrays > limits.NESTED_ARRAYS:
            text = f"more than {limits.NESTED_ARRAYS} arrays within arrays"
            raise cursor.fault(GGUFCountError, text, start)
        return tuple(self._array(depth + 1) for _ in range(count))
