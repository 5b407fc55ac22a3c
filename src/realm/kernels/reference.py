"""The NumPy meaning of the native operations: what each one computes, in the fewest words.

Every function works in float32 on whole arrays, changes none of its arguments and keeps no state.
Tests hold the native versions against these; nothing in the serving path ever calls them, and they
never try to be fast or to add in the native core's order, so comparisons need a tolerance.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "attention",
    "causal_mask",
    "dequantize_activations",
    "gelu_tanh_gate",
    "quantize_activations",
    "rms_norm",
    "rope_interleaved",
    "rope_inverse_frequencies",
    "rope_split",
    "silu_gate",
]

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int32]

ACTIVATION_BLOCK = 32
"""Columns that share one activation scale."""

INT8_LIMIT, WIDE_LIMIT = 127, 4095
"""The largest activations of 8 and of 16 bits: a block's 32 products fit an int32."""


def rms_norm(x: FloatArray, weight: FloatArray, epsilon: float) -> FloatArray:
    """Root-mean-square normalisation (Zhang and Sennrich 2019, arXiv:1910.07467, equation 4).

    x: [..., width]; weight: [width], the factor as it stands in the GGUF file (for gemma the file
    already holds 1 + w). Returns [..., width].
    """
    mean_square = np.mean(np.square(x, dtype=np.float32), axis=-1, keepdims=True)
    result: FloatArray = x / np.sqrt(mean_square + np.float32(epsilon)) * weight
    return result


def rope_inverse_frequencies(rotated_width: int, base: float) -> FloatArray:
    """Radians a position turns pair i: base ** (-2 i / rotated_width), [rotated_width / 2].

    Source: RoFormer (Su et al. 2021, arXiv:2104.09864, section 3.2.2).
    """
    exponents = np.arange(0, rotated_width, 2, dtype=np.float64) / rotated_width
    return (float(base) ** -exponents).astype(np.float32)


def rope_interleaved(
    x: FloatArray, inverse_frequencies: FloatArray, positions: npt.NDArray[np.integer]
) -> FloatArray:
    """Rotate neighbouring columns (2 i, 2 i + 1), the order of llama tensors in a GGUF file.

    x: [tokens, heads, width]; inverse_frequencies: [rotated / 2] with rotated <= width, columns
    past it stay; positions: [tokens]. Returns [tokens, heads, width].
    """
    cosine, sine = _rotation(inverse_frequencies, positions)
    rotated = 2 * inverse_frequencies.shape[0]
    even, odd = x[..., 0:rotated:2], x[..., 1:rotated:2]
    result = x.astype(np.float32)
    result[..., 0:rotated:2] = even * cosine - odd * sine
    result[..., 1:rotated:2] = odd * cosine + even * sine
    return result


def rope_split(
    x: FloatArray, inverse_frequencies: FloatArray, positions: npt.NDArray[np.integer]
) -> FloatArray:
    """Rotate columns half a head apart (i, i + rotated / 2), the order of GPT-NeoX, gemma and qwen.

    Shapes as in `rope_interleaved`.
    """
    cosine, sine = _rotation(inverse_frequencies, positions)
    half = inverse_frequencies.shape[0]
    first, second = x[..., :half], x[..., half : 2 * half]
    result = x.astype(np.float32)
    result[..., :half] = first * cosine - second * sine
    result[..., half : 2 * half] = second * cosine + first * sine
    return result


def _rotation(
    inverse_frequencies: FloatArray, positions: npt.NDArray[np.integer]
) -> tuple[FloatArray, FloatArray]:
    """Cosine and sine of each token's angles, [tokens, 1, pairs]; angles are taken in float64."""
    angles = np.outer(positions.astype(np.float64), inverse_frequencies.astype(np.float64))
    return (
        np.cos(angles).astype(np.float32)[:, np.newaxis, :],
        np.sin(angles).astype(np.float32)[:, np.newaxis, :],
    )


def causal_mask(
    query_positions: npt.NDArray[np.integer],
    key_positions: npt.NDArray[np.integer],
    window: int = 0,
) -> npt.NDArray[np.bool_]:
    """Which keys a query sees: [queries, keys], True where it does.

    A query at position p sees keys at positions <= p; with window > 0 only the last `window` of
    them, itself included (p - window < key <= p). window 0 means no window.
    """
    distance = query_positions[:, np.newaxis].astype(np.int64) - key_positions[np.newaxis, :]
    seen = distance >= 0
    if window > 0:
        seen &= distance < window
    return np.asarray(seen, dtype=np.bool_)


def attention(
    queries: FloatArray,
    keys: FloatArray,
    values: FloatArray,
    query_positions: npt.NDArray[np.integer],
    *,
    scale: float,
    window: int = 0,
    soft_cap: float = 0.0,
) -> FloatArray:
    """Causal softmax attention with grouped heads (GQA, Ainslie et al. 2023, arXiv:2305.13245).

    queries: [tokens, heads, width]; keys: [context, kv_heads, width]; values: [context, kv_heads,
    value_width]; key j stands at position j; query_positions: [tokens], each < context. heads is
    a multiple of kv_heads, and query head h reads kv head h // (heads / kv_heads).
    scale multiplies the scores (usually width ** -0.5); soft_cap c > 0 then bends them to
    c * tanh(score / c) (Gemma 2 report, arXiv:2408.00118, section 2); window as in `causal_mask`.
    Returns [tokens, heads, value_width].
    """
    group = queries.shape[1] // keys.shape[1]
    wide_keys = np.repeat(keys, group, axis=1)
    wide_values = np.repeat(values, group, axis=1)
    scores = np.einsum("thw,chw->htc", queries, wide_keys) * np.float32(scale)
    if soft_cap > 0.0:
        scores = np.float32(soft_cap) * np.tanh(scores / np.float32(soft_cap))
    seen = causal_mask(query_positions, np.arange(keys.shape[0]), window)
    scores = np.where(seen[np.newaxis], scores, np.float32(-np.inf))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    result: FloatArray = np.einsum("htc,chw->thw", weights, wide_values)
    return result


def silu_gate(gate: FloatArray, up: FloatArray) -> FloatArray:
    """SwiGLU's gate: gate * sigmoid(gate) * up (Shazeer 2020, arXiv:2002.05202)."""
    # Where exp overflows the quotient is the limit, -0: no warning is due.
    with np.errstate(over="ignore"):
        return (gate / (np.float32(1.0) + np.exp(-gate)) * up).astype(np.float32)


def gelu_tanh_gate(gate: FloatArray, up: FloatArray) -> FloatArray:
    """GeGLU's gate: gelu(gate) * up, with the tanh form of GELU (arXiv:1606.08415, section 2)."""
    inner = np.float32(np.sqrt(2.0 / np.pi)) * (gate + np.float32(0.044715) * gate**3)
    return (np.float32(0.5) * gate * (np.float32(1.0) + np.tanh(inner)) * up).astype(np.float32)


def quantize_activations(
    x: FloatArray, largest: int = INT8_LIMIT
) -> tuple[npt.NDArray[np.int16], FloatArray, IntArray]:
    """Integer activations with one scale for every 32 columns.

    x: [rows, columns], finite, columns a multiple of 32. largest: INT8_LIMIT, or WIDE_LIMIT where
    weights have two or sixteen bits. Returns (quants [rows, columns] in -largest..largest, scales
    float32 [rows, columns / 32], sums int32 [rows, columns / 32]):
    scale = max |x| / largest of the block, quant = x / scale rounded to nearest, ties to even, and
    sum = the block's quants added up, which a weight block's minimum is multiplied with.
    A block of zeros has scale 0 and quants 0.
    """
    rows, columns = x.shape
    blocks = x.astype(np.float32).reshape(rows, columns // ACTIVATION_BLOCK, ACTIVATION_BLOCK)
    scales = np.abs(blocks).max(axis=-1) / np.float32(largest)
    divisors = np.where(scales > 0.0, scales, np.float32(1.0))[..., np.newaxis]
    quants = np.clip(np.rint(blocks / divisors), -largest, largest).astype(np.int16)
    sums = quants.sum(axis=-1, dtype=np.int32)
    return quants.reshape(rows, columns), scales.astype(np.float32), sums


def dequantize_activations(quants: npt.NDArray[np.int16], scales: FloatArray) -> FloatArray:
    """What quantised activations stand for: quants * scale of their block, [rows, columns]."""
    spread = np.repeat(scales, ACTIVATION_BLOCK, axis=-1)
    return (quants.astype(np.float32) * spread).astype(np.float32)
