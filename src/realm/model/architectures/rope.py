"""Rotary embeddings from metadata: plain, linear, YaRN, and divisors that the file holds.

Sources: Su et al., 2021 (the rotation); Chen et al., 2023 (linear); Peng et al., 2023 (YaRN); Ding
et al., 2024 (LongRoPE); the GGUF specification for the keys. Llama 3.1's scaling comes as a tensor
of divisors, one for every pair; LongRoPE as two of them, for short and for long contexts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from realm.kernels.block_types import BlockType
from realm.kernels.dequantize import dequantize
from realm.model.architectures.source import MetadataSource
from realm.model.hyperparameters import Rope

_DIVISORS = "rope_freqs.weight"
_LONG, _SHORT = "rope_factors_long.weight", "rope_factors_short.weight"
ROPE_TENSORS = frozenset({_DIVISORS, _LONG, _SHORT})
"""Tensors that `read_rope` takes; no layer has them."""


def identity_rope() -> Rope:
    """No rotation at all: one pair that turns with a frequency of zero."""
    return Rope(np.zeros(1))


def read_rope(
    source: MetadataSource, head_size: int, *, interleaved: bool, default_base: float = 10000.0
) -> Rope:
    """The rope of `rope.*` keys and tensors.

    interleaved: as the architecture's converter lays out query and key rows.
    Raises ArchitectureError for a scaling that is not known, or values that make no sense.
    """
    rotated = source.size("rope.dimension_count", default=head_size)
    if rotated > head_size:
        raise source.refuse(f"{rotated} rotated dimensions do not fit a head of {head_size}")
    base = source.number("rope.freq_base", default=default_base)
    frequencies = source.frequencies(rotated, base)
    magnitude = 1.0
    kind = source.text("rope.scaling.type", "linear")
    if kind == "linear":
        legacy = source.number("rope.scale_linear", default=1.0)
        frequencies = frequencies / source.number("rope.scaling.factor", default=legacy)
    elif kind == "yarn":
        frequencies, magnitude = _yarn(source, frequencies, base)
    elif kind == "longrope":
        if _LONG not in source.file.tensors:
            raise source.refuse(f"rope scaling 'longrope' needs a tensor {_LONG}")
    elif kind != "none":
        raise source.refuse(f"rope scaling {kind!r} is not supported")
    if _DIVISORS in source.file.tensors:
        frequencies = frequencies / _divisors(source, _DIVISORS, frequencies.shape)
    if _LONG in source.file.tensors:
        chosen, magnitude = _long_rope(source)
        frequencies = frequencies / _divisors(source, chosen, frequencies.shape)
    return Rope(frequencies, magnitude, interleaved)


def _yarn(
    source: MetadataSource, frequencies: NDArray[np.float64], base: float
) -> tuple[NDArray[np.float64], float]:
    """Fast pairs as they are, slow ones divided by the factor, a ramp between (section 3.2).

    The magnitude is the file's when it has one (converters write the model's own attention factor
    there), else 0.1 ln(factor) + 1 (equation 22).
    """
    factor = source.number("rope.scaling.factor")
    context = source.size(
        "rope.scaling.original_context_length", default=source.size("context_length")
    )
    count = len(frequencies)

    def pair_of(turns: float) -> float:
        """Which pair makes this many turns within the original context."""
        return count * math.log(context / (2.0 * math.pi * turns)) / math.log(base)

    low = math.floor(pair_of(source.number("rope.scaling.yarn_beta_fast", default=32.0)))
    high = math.ceil(pair_of(source.number("rope.scaling.yarn_beta_slow", default=1.0)))
    low, high = max(low, 0), min(high, 2 * count - 1)
    slow = np.clip((np.arange(count) - low) / (high - low or 0.001), 0.0, 1.0)
    kept = (1.0 - slow) * source.number("rope.scaling.yarn_ext_factor", default=1.0)
    magnitude = 0.1 * math.log(factor) + 1.0 if factor > 1.0 else 1.0
    magnitude = source.number("rope.scaling.attn_factor", default=magnitude)
    magnitude = source.number("rope.scaling.yarn_attn_factor", default=magnitude)
    return frequencies * kept + frequencies / factor * (1.0 - kept), magnitude


def _long_rope(source: MetadataSource) -> tuple[str, float]:
    """Which divisors a model takes, and its magnitude.

    The longer ones as soon as the model's context is longer than the original one: a sequence's
    rotation must not change when it grows past that point, as its cached keys are rotated already.
    """
    context = source.size("context_length")
    original = source.size("rope.scaling.original_context_length", default=context)
    if context <= original or original < 2:
        return _SHORT, source.number("rope.scaling.attn_factor", default=1.0)
    magnitude = math.sqrt(1.0 + math.log(context / original) / math.log(original))
    return _LONG, source.number("rope.scaling.attn_factor", default=magnitude)


def _divisors(source: MetadataSource, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if name not in source.file.tensors:
        raise source.refuse(f"there is no tensor {name}")
    info = source.file.tensor(name)
    if info.block_type != BlockType.F32 or info.shape != shape:
        raise source.refuse(f"{name} is {info.block_type.name} {info.shape}, not F32 {shape}")
    divisors = dequantize(source.file.tensor_data(name), info.block_type, info.shape)
    if not (np.isfinite(divisors).all() and (divisors > 0).all()):
        raise source.refuse(f"{name} holds a value that is not a number > 0")
    return divisors
