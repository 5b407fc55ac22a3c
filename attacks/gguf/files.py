"""Pieces of GGUF files, right or wrong, as bytes that fit together.

Written from the specification and independent of Realm's reader, so that neither inherits the
other's mistakes. Every length and count can be replaced by a lie. Nothing is written to disk.

    file([key("general.name", text("x"))], [tensor("a", (32, 2), Q4_0)])
    file([key("general.name", text("x", length=2**63))])          # a string that cannot be
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAGIC = b"GGUF"
U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
SCALAR_CODES = "BbHhIif?__Qqd"

# Number, elements and bytes of a block, of the types that the attacks use.
TYPE_F32, TYPE_F16, TYPE_Q4_0, TYPE_Q4_1, TYPE_Q8_0, TYPE_Q4_K, TYPE_Q6_K = 0, 1, 2, 3, 8, 12, 14
BLOCKS = {
    TYPE_F32: (1, 4),
    TYPE_F16: (1, 2),
    TYPE_Q4_0: (32, 18),
    TYPE_Q4_1: (32, 20),
    TYPE_Q8_0: (32, 34),
    TYPE_Q4_K: (256, 144),
    TYPE_Q6_K: (256, 210),
}


@dataclass(frozen=True, slots=True)
class Value:
    """A metadata value: its type number and the bytes that follow it."""

    kind: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's description; `offset` None places it after the one before it."""

    name: bytes
    dimensions: tuple[int, ...]
    block_type: int
    offset: int | None = None
    dimension_count: int | None = None
    name_length: int | None = None

    @property
    def size_bytes(self) -> int:
        elements, size = BLOCKS.get(self.block_type, (1, 1))
        return math.prod(self.dimensions) // elements * size


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def string(content: str | bytes, length: int | None = None) -> bytes:
    """A length (the true one unless given) and the bytes."""
    data = content.encode() if isinstance(content, str) else content
    return u64(len(data) if length is None else length) + data


def text(content: str | bytes, length: int | None = None) -> Value:
    return Value(STRING, string(content, length))


def number(kind: int, value: float) -> Value:
    return Value(kind, struct.pack("<" + SCALAR_CODES[kind], value))


def array(kind: int, items: Sequence[float], count: int | None = None) -> Value:
    """An array of numbers; `count` replaces the true one."""
    layout = f"<{len(items)}{SCALAR_CODES[kind]}"
    head = u32(kind) + u64(len(items) if count is None else count)
    return Value(ARRAY, head + struct.pack(layout, *items))


def texts(items: Iterable[str | bytes], count: int | None = None) -> Value:
    """An array of strings."""
    strings = [string(item) for item in items]
    head = u32(STRING) + u64(len(strings) if count is None else count)
    return Value(ARRAY, head + b"".join(strings))


def arrays(items: Sequence[Value], count: int | None = None) -> Value:
    """An array of arrays."""
    head = u32(ARRAY) + u64(len(items) if count is None else count)
    return Value(ARRAY, head + b"".join(item.payload for item in items))


def key(name: str | bytes, value: Value, length: int | None = None) -> bytes:
    return string(name, length) + u32(value.kind) + value.payload


def tensor(name: str | bytes, dimensions: tuple[int, ...], block_type: int, **lies: int) -> Tensor:
    """`dimensions` in the file's order, the row length first. `lies`: fields of Tensor."""
    return Tensor(name.encode() if isinstance(name, str) else name, dimensions, block_type, **lies)


def aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


def file(
    keys: Sequence[bytes] = (),
    tensors: Sequence[Tensor] = (),
    *,
    magic: bytes = MAGIC,
    version: int = 3,
    key_count: int | None = None,
    tensor_count: int | None = None,
    alignment: int = 32,
    data: bytes | None = None,
) -> bytes:
    """A whole file. `data` replaces the section after the header, which is zeros otherwise."""
    infos = []
    offset = 0
    for each in tensors:
        place = offset if each.offset is None else each.offset
        dimensions = each.dimensions
        count = len(dimensions) if each.dimension_count is None else each.dimension_count
        infos.append(
            string(each.name, each.name_length)
            + u32(count)
            + b"".join(map(u64, dimensions))
            + u32(each.block_type)
            + u64(place)
        )
        if each.offset is None:
            offset = aligned(offset + each.size_bytes, alignment)
    header = (
        magic
        + u32(version)
        + u64(len(tensors) if tensor_count is None else tensor_count)
        + u64(len(keys) if key_count is None else key_count)
        + b"".join(keys)
        + b"".join(infos)
    )
    padding = bytes(aligned(len(header), alignment) - len(header))
    return header + padding + (bytes(offset) if data is None else data)


def model_file(version: int = 3) -> bytes:
    """A small valid file with what a model has: every value type, a vocabulary, several tensors."""
    scalars = [key(f"test.scalar.{kind}", number(kind, 1)) for kind in (*range(8), 10, 11, 12)]
    keys = [
        key("general.architecture", text("llama")),
        key("general.name", text("Übung 模型")),
        key("general.alignment", number(U32, 32)),
        key("llama.block_count", number(U32, 1)),
        key("llama.rope.freq_base", number(F32, 10000.0)),
        *scalars,
        key("tokenizer.ggml.tokens", texts(["<s>", "</s>", "a", "é", "▁the", b"\xff\xfe"])),
        key("tokenizer.ggml.scores", array(F32, [0.0, -1.0, -2.0, -3.0, -4.0, -5.0])),
        key("tokenizer.ggml.token_type", array(I32, [3, 3, 1, 1, 1, 6])),
        key("test.bools", array(BOOL, [True, False])),
        key("test.nested", arrays([array(U8, [1, 2]), texts(["x", ""]), array(F64, [])])),
    ]
    tensors = [
        tensor("token_embd.weight", (64, 6), TYPE_Q4_1),
        tensor("blk.0.attn_norm.weight", (64,), TYPE_F32),
        tensor("blk.0.attn_q.weight", (64, 4), TYPE_Q8_0),
        tensor("blk.0.ffn_up.weight", (256, 1), TYPE_Q4_K),
        tensor("blk.0.ffn_down.weight", (256, 2), TYPE_Q6_K),
        tensor("output_norm.weight", (64,), TYPE_F16),
    ]
    return file(keys, tensors, version=version)
