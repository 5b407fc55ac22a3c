"""What the bytes of a block type mean, in NumPy: the reference that every kernel is held to.

Plain and readable rather than fast: one function a type, each from blocks to float32, in the order
of floating-point operations that GGML's own reference code has. Never used in a forward step.

Source of the layouts: the `block_*` structures in ggml-common.h and `dequantize_row_*` in
ggml-quants.c.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from realm.errors import GGUFTensorError, NotSupportedError
from realm.kernels.block_types import BlockType

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


def dequantize(
    data: bytes | bytearray | memoryview | Bytes, block_type: BlockType, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """The float32 tensor of `shape` that `data` holds.

    data: the tensor's bytes, rows one after another. shape: NumPy order, the row length last.
    Returns a new array that the caller owns.
    Raises NotSupportedError for a type without a meaning here, and GGUFTensorError when the bytes
    are not exactly those of the shape.
    """
    meaning = MEANINGS.get(block_type)
    if meaning is None:
        raise NotSupportedError(f"block type {block_type.name} cannot be dequantised")
    row_length = shape[-1] if shape else 1
    if row_length % block_type.block_elements:
        raise GGUFTensorError(
            f"rows of {row_length} elements are not whole blocks of {block_type.block_elements} "
            f"({block_type.name})"
        )
    flat = data.reshape(-1) if isinstance(data, np.ndarray) else np.asarray(memoryview(data))
    needed = block_type.bytes_of(math.prod(shape))
    if flat.size != needed:
        raise GGUFTensorError(
            f"{flat.size} bytes of {block_type.name} are not a tensor of shape {shape}, "
            f"which takes {needed}"
        )
    # A scale that is no number, or a huge one, makes elements like it; that is the data's meaning.
    with np.errstate(invalid="ignore", over="ignore"):
        return meaning(flat.reshape(-1, block_type.block_bytes)).reshape(shape)


def _half(blocks: Bytes, start: int) -> Floats:
    """The float16 at byte `start` of every block: float32 [blocks, 1]."""
    return np.ascontiguousarray(blocks[:, start : start + 2]).view("<f2").astype(np.float32)


def _nibbles(packed: Bytes) -> Bytes:
    """Low nibbles, then high nibbles, of the last axis: [..., n] to [..., 2, n]."""
    return np.stack([packed & 0x0F, packed >> 4], axis=-2)


def _fifth_bits(blocks: Bytes, start: int) -> Bytes:
    """Bit i of the 32-bit word at `start`, moved to bit 4: [blocks, 32]."""
    return np.unpackbits(blocks[:, start : start + 4], axis=1, bitorder="little") << np.uint8(4)


def _f32(blocks: Bytes) -> Floats:
    return np.ascontiguousarray(blocks).view("<f4").astype(np.float32)


def _f16(blocks: Bytes) -> Floats:
    return _half(blocks, 0)


def _bf16(blocks: Bytes) -> Floats:
    words = np.ascontiguousarray(blocks).view("<u2").astype(np.uint32)
    return (words << 16).view(np.float32)


def _q4_0(blocks: Bytes) -> Floats:
    quants = _nibbles(blocks[:, 2:]).reshape(-1, 32).astype(np.int8) - np.int8(8)
    return _half(blocks, 0) * quants.astype(np.float32)


def _q4_1(blocks: Bytes) -> Floats:
    quants = _nibbles(blocks[:, 4:]).reshape(-1, 32)
    return _half(blocks, 0) * quants.astype(np.float32) + _half(blocks, 2)


def _q5_0(blocks: Bytes) -> Floats:
    quants = _nibbles(blocks[:, 6:]).reshape(-1, 32) | _fifth_bits(blocks, 2)
    return _half(blocks, 0) * (quants.astype(np.int8) - np.int8(16)).astype(np.float32)


def _q5_1(blocks: Bytes) -> Floats:
    quants = _nibbles(blocks[:, 8:]).reshape(-1, 32) | _fifth_bits(blocks, 4)
    return _half(blocks, 0) * quants.astype(np.float32) + _half(blocks, 2)


def _q8_0(blocks: Bytes) -> Floats:
    return _half(blocks, 0) * blocks[:, 2:].view(np.int8).astype(np.float32)


def _two_bits(packed: Bytes) -> Bytes:
    """Four 2-bit quants a byte, 32 bytes a group: [blocks, 64] to [blocks, 256]."""
    shifts = np.array([0, 2, 4, 6], dtype=np.uint8)[:, None]
    return ((packed.reshape(-1, 2, 1, 32) >> shifts) & np.uint8(3)).reshape(-1, 256)


def _q2_k(blocks: Bytes) -> Floats:
    # Sixteen bytes: scales in the low nibbles, minimums in the high ones.
    scale = _half(blocks, 80) * (blocks[:, :16] & 0x0F).astype(np.float32)
    minimum = _half(blocks, 82) * (blocks[:, :16] >> 4).astype(np.float32)
    quants = _two_bits(blocks[:, 16:80]).reshape(-1, 16, 16).astype(np.float32)
    return (scale[:, :, None] * quants - minimum[:, :, None]).reshape(-1, 256)


def _q3_k(blocks: Bytes) -> Floats:
    # Sixteen 6-bit scales: eight bytes of low nibbles, four bytes of four 2-bit pairs.
    low = _nibbles(blocks[:, 96:104]).reshape(-1, 16)
    shifts = np.array([0, 2, 4, 6], dtype=np.uint8)[:, None]
    high = ((blocks[:, None, 104:108] >> shifts) & 3).reshape(-1, 16)
    scales = _half(blocks, 108) * ((low | (high << 4)).astype(np.int8) - np.int8(32)).astype(
        np.float32
    )
    third = (blocks[:, None, :32] >> np.arange(8, dtype=np.uint8)[:, None]) & np.uint8(1)
    quants = (_two_bits(blocks[:, 32:96]) | (third.reshape(-1, 256) << 2)).astype(
        np.int8
    ) - np.int8(4)
    return (scales[:, :, None] * quants.reshape(-1, 16, 16).astype(np.float32)).reshape(-1, 256)


def _scales_and_minimums(packed: Bytes) -> tuple[Floats, Floats]:
    """Eight 6-bit scales and eight 6-bit minimums out of 12 bytes: two float32 [blocks, 8]."""
    first, second, last = packed[:, 0:4], packed[:, 4:8], packed[:, 8:12]
    scales = np.concatenate([first & 0x3F, (last & 0x0F) | ((first >> 6) << 4)], axis=1)
    minimums = np.concatenate([second & 0x3F, (last >> 4) | ((second >> 6) << 4)], axis=1)
    return scales.astype(np.float32), minimums.astype(np.float32)


def _scaled_k(blocks: Bytes, quants: Bytes) -> Floats:
    """Quants [blocks, 8, 32] times their scale less their minimum: float32 [blocks, 256]."""
    scales, minimums = _scales_and_minimums(blocks[:, 4:16])
    scale = (_half(blocks, 0) * scales)[:, :, None]
    minimum = (_half(blocks, 2) * minimums)[:, :, None]
    return (scale * quants.astype(np.float32) - minimum).reshape(-1, 256)


def _q4_k(blocks: Bytes) -> Floats:
    return _scaled_k(blocks, _nibbles(blocks[:, 16:].reshape(-1, 4, 32)).reshape(-1, 8, 32))


def _q5_k(blocks: Bytes) -> Floats:
    low = _nibbles(blocks[:, 48:].reshape(-1, 4, 32)).reshape(-1, 8, 32)
    shifts = np.arange(8, dtype=np.uint8)[:, None]
    high = (blocks[:, None, 16:48] >> shifts) & np.uint8(1)
    return _scaled_k(blocks, low | (high << np.uint8(4)))


def _q6_k(blocks: Bytes) -> Floats:
    # Each half of the block: 64 bytes of low nibbles, 32 bytes of four 2-bit pairs.
    low = _nibbles(blocks[:, :128].reshape(-1, 2, 64)).reshape(-1, 2, 4, 32)
    shifts = np.array([0, 2, 4, 6], dtype=np.uint8)[:, None]
    high = (blocks[:, 128:192].reshape(-1, 2, 1, 32) >> shifts) & 3
    quants = (low | (high << 4)).astype(np.int8) - np.int8(32)
    scales = _half(blocks, 208) * blocks[:, 192:208].view(np.int8).astype(np.float32)
    return (scales[:, :, None] * quants.reshape(-1, 16, 16).astype(np.float32)).reshape(-1, 256)


def _q8_k(blocks: Bytes) -> Floats:
    # The block's last 32 bytes are sums of quants, for products only.
    scale = np.ascontiguousarray(blocks[:, :4]).view("<f4").astype(np.float32)
    return scale * blocks[:, 4:260].view(np.int8).astype(np.float32)


CODEBOOK: Floats = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], dtype=np.float32
)
"""What the sixteen quants of IQ4_NL and IQ4_XS stand for (`kvalues_iq4nl`)."""


def _iq4_nl(blocks: Bytes) -> Floats:
    return _half(blocks, 0) * CODEBOOK[_nibbles(blocks[:, 2:]).reshape(-1, 32)]


def _iq4_xs(blocks: Bytes) -> Floats:
    # Eight 6-bit scales: four bytes of low nibbles (even, odd), one 16-bit word of 2-bit pairs.
    low = np.stack([blocks[:, 4:8] & 0x0F, blocks[:, 4:8] >> 4], axis=-1).reshape(-1, 8)
    word = np.ascontiguousarray(blocks[:, 2:4]).view("<u2")
    high = ((word >> np.arange(0, 16, 2, dtype=np.uint16)) & 3).astype(np.uint8)
    scales = _half(blocks, 0) * ((low | (high << 4)).astype(np.int8) - np.int8(32)).astype(
        np.float32
    )
    quants = _nibbles(blocks[:, 8:].reshape(-1, 8, 16)).reshape(-1, 8, 32)
    values: Floats = scales[:, :, None] * CODEBOOK[quants]
    return values.reshape(-1, 256)


MEANINGS: Mapping[BlockType, Callable[[Bytes], Floats]] = MappingProxyType(
    {
        BlockType.F32: _f32,
        BlockType.F16: _f16,
        BlockType.BF16: _bf16,
        BlockType.Q4_0: _q4_0,
        BlockType.Q4_1: _q4_1,
        BlockType.Q5_0: _q5_0,
        BlockType.Q5_1: _q5_1,
        BlockType.Q8_0: _q8_0,
        BlockType.Q2_K: _q2_k,
        BlockType.Q3_K: _q3_k,
        BlockType.Q4_K: _q4_k,
        BlockType.Q5_K: _q5_k,
        BlockType.Q6_K: _q6_k,
        BlockType.Q8_K: _q8_k,
        BlockType.IQ4_NL: _iq4_nl,
        BlockType.IQ4_XS: _iq4_xs,
    }
)
"""The block types that `dequantize` understands: blocks uint8 [blocks, block_bytes] to float32."""
