"""Attacks on tensors: their descriptions, their places in the file, and data that is not there."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.gguf import files as g
from attacks.gguf.attack import HUGE, Attack
from realm.errors import (
    GGUFCountError,
    GGUFLayoutError,
    GGUFTensorError,
    GGUFTruncatedError,
)


def _tensors(*tensors: g.Tensor, data: bytes | None = None) -> bytes:
    return g.file([], tensors, data=data)


def _cut(before_end: int) -> bytes:
    return g.model_file()[:-before_end]


def _cut_after(marker: bytes, more: int) -> bytes:
    whole = g.model_file()
    return whole[: whole.index(marker) + len(marker) + more]


TENSORS: Sequence[Attack] = (
    Attack(
        "huge tensor name",
        GGUFCountError,
        "length of name",
        lambda: _tensors(g.tensor("t", (32,), 0, name_length=HUGE)),
    ),
    Attack(
        "empty tensor name", GGUFTensorError, "tensor 0", lambda: _tensors(g.tensor("", (32,), 0))
    ),
    Attack(
        "tensor name not UTF-8",
        GGUFTensorError,
        "UTF-8",
        lambda: _tensors(g.tensor(b"\x80", (32,), 0)),
    ),
    Attack(
        "tensor twice",
        GGUFTensorError,
        "twice",
        lambda: _tensors(g.tensor("t", (32,), 0), g.tensor("t", (32,), 0)),
    ),
    Attack(
        "5 dimensions", GGUFTensorError, "'t'", lambda: _tensors(g.tensor("t", (1, 1, 1, 1, 1), 0))
    ),
    Attack(
        "2^32 dimensions",
        GGUFTensorError,
        "4294967295 dimensions",
        lambda: _tensors(g.tensor("t", (32,), 0, dimension_count=2**32 - 1)),
    ),
    Attack(
        "a dimension of 0", GGUFTensorError, "(2, 0)", lambda: _tensors(g.tensor("t", (0, 2), 0))
    ),
    Attack(
        "elements overflow to 0",
        GGUFTensorError,
        "cannot be",
        lambda: _tensors(g.tensor("t", (2**32, 2**32), 0, offset=0)),
    ),
    Attack(
        "elements overflow to few",
        GGUFTensorError,
        "cannot be",
        lambda: _tensors(g.tensor("t", (2**62, 4, 4, 2), 0, offset=0)),
    ),
    Attack(
        "bytes overflow 64 bits",
        GGUFTruncatedError,
        "'t'",
        lambda: _tensors(g.tensor("t", (2**62,), 0, offset=0)),
    ),
    Attack(
        "unknown block type", GGUFTensorError, "type 31", lambda: _tensors(g.tensor("t", (32,), 31))
    ),
    Attack(
        "block type -1", GGUFTensorError, "'t'", lambda: _tensors(g.tensor("t", (32,), 2**32 - 1))
    ),
    Attack(
        "half a block a row",
        GGUFTensorError,
        "Q4_0",
        lambda: _tensors(g.tensor("t", (48, 2), g.TYPE_Q4_0)),
    ),
    Attack(
        "Q4_K rows of 128",
        GGUFTensorError,
        "256",
        lambda: _tensors(g.tensor("t", (128, 2), g.TYPE_Q4_K)),
    ),
    Attack(
        "quantised scalar",
        GGUFTensorError,
        "Q4_0",
        lambda: _tensors(g.tensor("t", (), g.TYPE_Q4_0)),
    ),
    Attack(
        "misaligned offset",
        GGUFLayoutError,
        "alignment 32",
        lambda: _tensors(g.tensor("t", (32,), 0, offset=4), data=bytes(256)),
    ),
    Attack(
        "offset far outside",
        GGUFLayoutError,
        "outside",
        lambda: _tensors(g.tensor("t", (32,), 0, offset=2**40), data=bytes(256)),
    ),
    Attack(
        "offset that overflows",
        GGUFLayoutError,
        "outside",
        lambda: _tensors(g.tensor("t", (32,), 0, offset=2**64 - 32), data=bytes(256)),
    ),
    Attack(
        "two tensors at one place",
        GGUFLayoutError,
        "begins inside tensor",
        lambda: _tensors(
            g.tensor("a", (32,), 0, offset=0), g.tensor("b", (32,), 0, offset=0), data=bytes(256)
        ),
    ),
    Attack(
        "partly overlapping",
        GGUFLayoutError,
        "begins inside tensor 'a'",
        lambda: _tensors(
            g.tensor("b", (32,), 0, offset=32), g.tensor("a", (32,), 0, offset=0), data=bytes(256)
        ),
    ),
    Attack(
        "one tensor swallows another",
        GGUFLayoutError,
        "'small'",
        lambda: _tensors(
            g.tensor("large", (64,), 0, offset=0),
            g.tensor("small", (8,), 0, offset=64),
            data=bytes(256),
        ),
    ),
    Attack("data cut by one byte", GGUFTruncatedError, "'output_norm.weight'", lambda: _cut(1)),
    Attack("data cut by half", GGUFTruncatedError, "file ends", lambda: _cut(1000)),
    Attack(
        "no data at all",
        GGUFTruncatedError,
        "'t'",
        lambda: _tensors(g.tensor("t", (32,), 0), data=b""),
    ),
    Attack(
        "tensor description cut",
        GGUFTruncatedError,
        "offset",
        lambda: _cut_after(b"output_norm.weight", 20),
    ),
)
