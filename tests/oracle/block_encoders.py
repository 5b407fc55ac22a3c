"""Encoders of the block types that the gguf package reads but does not write, in plain NumPy.

Scales come from each block's largest values, or for code books from a least-squares fit: no search,
so files made with them are a little worse than llama.cpp's of the same type. What a file loses is
not what is tested; how well Realm computes with what the file says is.

Source of the layouts: the `block_*` structures in ggml-common.h.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gguf.quants import IQ4_NL, quantize
from numpy.typing import NDArray

import gguf

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

SUPER_BLOCK = 256
CODE_BOOK = np.array(IQ4_NL.kvalues, np.float32)
# The nearest entry to each whole number of -128..127.
_NEAREST = np.abs(np.arange(-128, 128)[:, None] - CODE_BOOK).argmin(axis=1).astype(np.uint8)
_PIECE = 1 << 18  # elements worked on at once, so that they stay in cache


def encode(values: Floats, name: str) -> Bytes:
    """The rows' bytes in a file: uint8 [rows, bytes]; values [rows, columns] in whole blocks."""
    kind = gguf.GGMLQuantizationType[name]
    encoder = _ENCODERS.get(name)
    columns = values.shape[1]
    elements, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    result = np.empty((len(values), columns // elements * block_bytes), np.uint8)
    rows = max(1, _PIECE // columns)
    for first in range(0, len(values), rows):
        piece = values[first : first + rows]
        if encoder is None:
            packed = np.ascontiguousarray(quantize(piece, kind)).view(np.uint8)
        else:
            packed = encoder(piece.reshape(-1, elements))
        result[first : first + rows] = packed.reshape(len(piece), -1)
    return result


def _q2_k(blocks: Floats) -> Bytes:
    scales, minimums, quants = _affine(blocks.reshape(-1, 16, 16), levels=3, most=15)
    packed = scales.index | minimums.index << 4
    return _joined(packed, _crumbs(quants), scales.unit, minimums.unit)


def _q3_k(blocks: Floats) -> Bytes:
    scales, quants = _symmetric(blocks.reshape(-1, 16, 16), reach=4, most=31)
    stored, index = (quants + 4).astype(np.uint8), (scales.index + 32).astype(np.uint8)
    low = (index[:, :8] & 15) | (index[:, 8:] & 15) << 4
    high = _or_shifted((index >> 4).reshape(-1, 4, 4), 2)
    mask = _or_shifted((stored >> 2).reshape(-1, 8, 32), 1)
    return _joined(mask, _crumbs(stored & 3), low, high, scales.unit)


def _q4_k(blocks: Floats) -> Bytes:
    scales, minimums, quants = _affine(blocks.reshape(-1, 8, 32), levels=15, most=63)
    head = (scales.unit, minimums.unit, _six_bit_pairs(scales.index, minimums.index))
    return _joined(*head, _nibbles(quants, 32))


def _q5_k(blocks: Floats) -> Bytes:
    scales, minimums, quants = _affine(blocks.reshape(-1, 8, 32), levels=31, most=63)
    head = (scales.unit, minimums.unit, _six_bit_pairs(scales.index, minimums.index))
    high = _or_shifted((quants >> 4).reshape(-1, 8, 32), 1)
    return _joined(*head, high, _nibbles(quants & 15, 32))


def _q6_k(blocks: Floats) -> Bytes:
    scales, quants = _symmetric(blocks.reshape(-1, 16, 16), reach=32, most=127)
    stored = (quants + 32).astype(np.uint8)
    index = scales.index.astype(np.int8).view(np.uint8)
    return _joined(_nibbles(stored & 15, 64), _crumbs(stored >> 4), index, scales.unit)


def _q8_k(blocks: Floats) -> Bytes:
    unit = np.abs(blocks).max(axis=-1, keepdims=True) / np.float32(127.0)
    quants = _divided(blocks, unit).astype(np.int8)
    sums = quants.reshape(-1, 16, 16).sum(axis=-1, dtype=np.int16)
    return _joined(unit, quants, sums)


def _iq4_nl(blocks: Floats) -> Bytes:
    scale = _code_book_scale(blocks).astype(np.float16)
    quants = _code_book_index(blocks, scale.astype(np.float32))
    return _joined(scale, _nibbles(quants, 16))


def _iq4_xs(blocks: Floats) -> Bytes:
    parts = blocks.reshape(-1, 8, 32)
    wanted = _code_book_scale(parts)[..., 0]
    unit = _unit(wanted, 31)
    index = _divided(wanted, unit.astype(np.float32)).clip(-31, 31)
    quants = _code_book_index(parts, (index * unit.astype(np.float32))[..., None])
    stored = (index + 32).astype(np.uint16)
    high = _or_shifted((stored >> 4)[..., None], 2)
    low = (stored & 15).astype(np.uint8).reshape(-1, 4, 2)
    return _joined(unit, high, low[..., 0] | low[..., 1] << 4, _nibbles(quants, 16))


_ENCODERS: dict[str, Callable[[Floats], Bytes]] = {
    "Q2_K": _q2_k,
    "Q3_K": _q3_k,
    "Q4_K": _q4_k,
    "Q5_K": _q5_k,
    "Q6_K": _q6_k,
    "Q8_K": _q8_k,
    "IQ4_NL": _iq4_nl,
    "IQ4_XS": _iq4_xs,
}


# ---- Scales ----


class _Scales:
    """Scales of a block's parts as small integers times a half float.

    unit: float16 [blocks, 1]. index: whole numbers [blocks, parts]. value: their products.
    """

    def __init__(self, wanted: Floats, most: int) -> None:
        self.unit = _unit(wanted, most)
        unit = self.unit.astype(np.float32)
        index = _divided(wanted, unit).clip(-most, most)
        self.index = index.astype(np.int8 if (index < 0).any() else np.uint8)
        self.value = (index * unit)[..., None]


def _affine(parts: Floats, levels: int, most: int) -> tuple[_Scales, _Scales, Bytes]:
    """value = scale * quant - minimum, quants 0..levels; parts [blocks, parts, elements]."""
    lowest = np.minimum(parts.min(axis=-1), 0.0)
    step = (parts.max(axis=-1).clip(0.0) - lowest) / np.float32(levels)
    minimums, scales = _Scales(-lowest, most), _Scales(step, most)
    quants = _divided(parts + minimums.value, scales.value).clip(0, levels)
    return scales, minimums, quants.astype(np.uint8).reshape(len(parts), -1)


def _symmetric(parts: Floats, reach: int, most: int) -> tuple[_Scales, NDArray[np.int8]]:
    """value = scale * quant, quants -reach..reach - 1: the largest value takes the longer side."""
    extreme = np.take_along_axis(parts, np.abs(parts).argmax(axis=-1)[..., None], axis=-1)
    scales = _Scales(extreme[..., 0] / np.float32(-reach), most)
    quants = _divided(parts, scales.value).clip(-reach, reach - 1)
    return scales, quants.astype(np.int8).reshape(len(parts), -1)


def _code_book_scale(parts: Floats) -> Floats:
    """Least squares of the scale after a first one from the largest value; [..., 1]."""
    extreme = np.take_along_axis(parts, np.abs(parts).argmax(axis=-1)[..., None], axis=-1)
    entries = CODE_BOOK[_code_book_index(parts, extreme / CODE_BOOK[0])]
    fitted = (parts * entries).sum(axis=-1, keepdims=True)
    return fitted / np.square(entries).sum(axis=-1, keepdims=True)


def _code_book_index(parts: Floats, scale: Floats) -> Bytes:
    return _NEAREST[_divided(parts, scale).clip(-128, 127).astype(np.int16) + 128]


def _unit(wanted: Floats, most: int) -> NDArray[np.float16]:
    return (np.abs(wanted).max(axis=-1, keepdims=True) / np.float32(most)).astype(np.float16)


def _divided(values: Floats, by: Floats) -> Floats:
    """Quotients rounded to whole numbers, 0 where the divisor is."""
    inverse = np.divide(np.float32(1.0), by, out=np.zeros_like(by), where=by != 0.0)
    return np.rint(values * inverse)


# ---- Bits ----


def _joined(*fields: NDArray[np.generic]) -> Bytes:
    """The fields of every block one after another."""
    count = len(fields[0])
    parts = [np.ascontiguousarray(each).reshape(count, -1).view(np.uint8) for each in fields]
    return np.concatenate(parts, axis=1)


def _or_shifted(parts: NDArray[np.generic], bits: int) -> NDArray[np.generic]:
    """[blocks, parts, n] to [blocks, n]: part i stands at bit i * bits."""
    result = parts[:, 0].copy()
    for index in range(1, parts.shape[1]):
        result |= parts[:, index] << type(result.flat[0])(index * bits)
    return result


def _nibbles(quants: Bytes, width: int) -> Bytes:
    """Low nibbles for `width` elements, high ones for the next `width`, and so on."""
    pairs = quants.reshape(-1, 2, width)
    return (pairs[:, 0] | pairs[:, 1] << 4).reshape(len(quants), -1)


def _crumbs(quants: Bytes) -> Bytes:
    """Two bits each: 32 elements share bits 0-1 of 32 bytes, the next 32 their bits 2-3 ..."""
    return _or_shifted(quants.reshape(-1, 4, 32), 2).reshape(len(quants), -1)


def _six_bit_pairs(scales: Bytes, minimums: Bytes) -> Bytes:
    """Eight scales and eight minimums of six bits in twelve bytes (Q4_K, Q5_K)."""
    low_scales = scales[:, :4] | (scales[:, 4:] >> 4) << 6
    low_minimums = minimums[:, :4] | (minimums[:, 4:] >> 4) << 6
    rest = (scales[:, 4:] & 15) | (minimums[:, 4:] & 15) << 4
    return np.concatenate([low_scales, low_minimums, rest], axis=1)
