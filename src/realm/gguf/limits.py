"""The most that a header may hold, far above any real model: they bound memory and time.

A count is first checked against the bytes that remain; these limits hold besides, because a small
entry of the file can stand for a larger Python object.
"""

HEADER_BYTES = 128 << 20
"""Bytes of everything before the tensor data. A 262 k-token vocabulary takes about 7 MB."""

METADATA_KEYS = 1 << 16
TENSORS = 1 << 16

NAME_BYTES = (1 << 16) - 1
"""Bytes of a key or of a tensor's name (the format's own limit for keys)."""

STRING_ARRAY_ELEMENTS = 1 << 22
NESTED_ARRAYS = 1 << 16
"""Arrays within arrays, in the whole file."""

ARRAY_DEPTH = 4
DIMENSIONS = 4

SMALLEST_KEY_BYTES = 8 + 1 + 4 + 1
"""A key's length, one character, the value's type, and a value of one byte."""

SMALLEST_TENSOR_BYTES = 8 + 1 + 4 + 4 + 8
"""A name's length, one character, no dimensions, the type and the offset."""

SMALLEST_ARRAY_BYTES = 4 + 8
"""An element type and a count."""
