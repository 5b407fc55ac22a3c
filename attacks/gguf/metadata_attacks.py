"""Attacks on metadata: keys, values, arrays and the alignment."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.gguf import files as g
from attacks.gguf.attack import HUGE, Attack
from realm.errors import (
    GGUFCountError,
    GGUFMetadataError,
    GGUFTruncatedError,
)


def _deep(depth: int) -> g.Value:
    value = g.array(g.U8, [1])
    for _ in range(depth - 1):
        value = g.arrays([value])
    return value


def _keys(*values: g.Value, name: str = "k") -> bytes:
    return g.file([g.key(name, value) for value in values])


def _aligned_at(value: g.Value) -> bytes:
    return g.file([g.key("general.alignment", value)], [g.tensor("t", (32,), g.TYPE_F32)])


METADATA: Sequence[Attack] = (
    Attack(
        "huge key length",
        GGUFCountError,
        "length of key",
        lambda: g.file([g.key("k", g.text("v"), length=HUGE)]),
    ),
    Attack(
        "key longer than its file",
        GGUFTruncatedError,
        "metadata key 0",
        lambda: g.file([g.key("k", g.text("v"), length=60000)]),
    ),
    Attack("empty key", GGUFMetadataError, "key 0", lambda: _keys(g.text("v"), name="")),
    Attack(
        "key not UTF-8",
        GGUFMetadataError,
        "UTF-8",
        lambda: g.file([g.key(b"\xc3\x28", g.text("v"))]),
    ),
    Attack("key twice", GGUFMetadataError, "'k'", lambda: _keys(g.text("a"), g.text("b"))),
    Attack(
        "key with control characters",
        GGUFMetadataError,
        r"'a\x1b[2J\n'",
        lambda: _keys(g.Value(99, b""), name="a\x1b[2J\n"),
    ),
    Attack("value type 13", GGUFMetadataError, "type 13", lambda: _keys(g.Value(13, bytes(8)))),
    Attack("value type -1", GGUFMetadataError, "'k'", lambda: _keys(g.Value(2**32 - 1, b""))),
    Attack("huge string", GGUFCountError, "'k'", lambda: _keys(g.text("v", length=HUGE))),
    Attack("string of 2^40", GGUFCountError, "'k'", lambda: _keys(g.text("v", length=2**40))),
    Attack("string too long", GGUFTruncatedError, "'k'", lambda: _keys(g.text("v", length=99))),
    Attack("string not UTF-8", GGUFMetadataError, "UTF-8", lambda: _keys(g.text(b"\xed\xa0\x80"))),
    Attack("bool 2", GGUFMetadataError, "not a bool", lambda: _keys(g.Value(g.BOOL, b"\2"))),
    Attack(
        "bool 255 in an array",
        GGUFMetadataError,
        "255 is not a bool",
        lambda: _keys(g.Value(g.ARRAY, g.u32(g.BOOL) + g.u64(2) + b"\1\xff")),
    ),
    Attack(
        "scalar cut",
        GGUFTruncatedError,
        "'k'",
        lambda: g.file([g.key("k", g.number(g.F64, 1))], alignment=1)[:-4],
    ),
    Attack("huge array", GGUFCountError, "'k'", lambda: _keys(g.array(g.U8, [1], count=HUGE))),
    Attack(
        "array whose bytes overflow 64 bits",
        GGUFCountError,
        "'k'",
        lambda: _keys(g.array(g.U64, [1], count=2**61)),
    ),
    Attack(
        "array too long", GGUFTruncatedError, "'k'", lambda: _keys(g.array(g.F64, [1], count=99))
    ),
    Attack(
        "array of an unknown type",
        GGUFMetadataError,
        "element type 42",
        lambda: _keys(g.Value(g.ARRAY, g.u32(42) + g.u64(1) + bytes(8))),
    ),
    Attack("huge string array", GGUFCountError, "'k'", lambda: _keys(g.texts(["a"], count=HUGE))),
    Attack(
        "string array too long",
        GGUFTruncatedError,
        "count of a string array",
        lambda: _keys(g.texts(["a"], count=1000)),
    ),
    Attack(
        "huge string within an array",
        GGUFCountError,
        "string 1 of an array",
        lambda: _keys(
            g.Value(g.ARRAY, g.u32(g.STRING) + g.u64(2) + g.string("a") + g.string("b", HUGE))
        ),
    ),
    Attack(
        "long string within an array",
        GGUFTruncatedError,
        "string 0 of an array",
        lambda: _keys(g.Value(g.ARRAY, g.u32(g.STRING) + g.u64(1) + g.string("a", 5000))),
    ),
    Attack(
        "strings that end before their count",
        GGUFTruncatedError,
        "length of string 4",
        lambda: g.file([g.key("k", g.texts(["ab" * 9] * 4, count=5))], alignment=1),
    ),
    Attack("arrays 5 deep", GGUFMetadataError, "deeper", lambda: _keys(_deep(5))),
    Attack("arrays 30,000 deep", GGUFMetadataError, "deeper", lambda: _keys(_deep(30_000))),
    Attack("huge array of arrays", GGUFCountError, "'k'", lambda: _keys(g.arrays([], count=HUGE))),
    Attack(
        "arrays within arrays by the hundred thousand",
        GGUFCountError,
        "arrays within arrays",
        lambda: _keys(g.arrays([g.arrays([g.array(g.U8, [])] * 256)] * 400)),
    ),
    Attack("alignment 0", GGUFMetadataError, "alignment", lambda: _aligned_at(g.number(g.U32, 0))),
    Attack("alignment 24", GGUFMetadataError, "not 24", lambda: _aligned_at(g.number(g.U32, 24))),
    Attack("alignment 1", GGUFMetadataError, "not 1", lambda: _aligned_at(g.number(g.U32, 1))),
    Attack("alignment -32", GGUFMetadataError, "-32", lambda: _aligned_at(g.number(g.I32, -32))),
    Attack("alignment text", GGUFMetadataError, "str", lambda: _aligned_at(g.text("32"))),
    Attack("alignment float", GGUFMetadataError, "float", lambda: _aligned_at(g.number(g.F32, 32))),
    Attack("alignment bool", GGUFMetadataError, "bool", lambda: _aligned_at(g.number(g.BOOL, 1))),
    Attack(
        "alignment 2^63",
        GGUFMetadataError,
        "power of two",
        lambda: _aligned_at(g.number(g.U64, 2**63)),
    ),
    Attack(
        "alignment 2^31", GGUFTruncatedError, "'t'", lambda: _aligned_at(g.number(g.U32, 2**31))
    ),
)
