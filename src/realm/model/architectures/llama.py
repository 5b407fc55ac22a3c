"""llama: Llama 1 to 3, Mistral, SmolLM2 and others that share its shape.

Source: Touvron et al., 2023; GGUF keys as in the GGUF specification. Converters store query and key
rows so that rotation pairs neighbouring dimensions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realm.kernels.block_types import BlockType
from realm.kernels.dequantize import dequantize
from realm.model.architectures.source import MetadataSource
from realm.model.hyperparameters import Gate, Hyperparameters, LayerKind, Rope


def read_llama(source: MetadataSource) -> Hyperparameters:
    """Hyperparameters from `llama.*` keys; raises ArchitectureError and GGUFMetadataError."""
    layer_count = source.size("block_count")
    hidden = source.size("embedding_length")
    heads = source.size("attention.head_count")
    kv_heads = source.size("attention.head_count_kv", default=heads)
    head_size = source.size("attention.key_length", default=max(hidden // heads, 1))
    source.check_heads(hidden, heads, kv_heads, head_size)
    if "llama.expert_count" in source.file.metadata and source.file.require(
        "llama.expert_count", int
    ):
        raise source.refuse("mixtures of experts are not supported")
    return Hyperparameters(
        architecture="llama",
        layer_count=layer_count,
        hidden_size=hidden,
        head_count=heads,
        kv_head_count=kv_heads,
        head_size=head_size,
        feed_forward_size=source.size("feed_forward_length"),
        vocabulary_size=source.vocabulary_size(),
        context_length=source.size("context_length"),
        epsilon=source.number("attention.layer_norm_rms_epsilon"),
        attention_scale=head_size**-0.5,
        gate=Gate.SILU,
        ropes=(Rope(_frequencies(source, head_size), interleaved=True),),
        layers=(LayerKind(),) * layer_count,
    )


def _frequencies(source: MetadataSource, head_size: int) -> NDArray[np.float64]:
    frequencies = source.frequencies(
        source.size("rope.dimension_count", default=head_size),
        source.number("rope.freq_base", default=10000.0),
    )
    kind = source.text("rope.scaling.type", "none")
    if kind == "linear":
        frequencies = frequencies / source.number("rope.scaling.factor")
    elif kind != "none":
        raise source.refuse(f"rope scaling {kind!r} is not supported")
    if "rope_freqs.weight" in source.file.tensors:
        # Llama 3.1 and later: the converter wrote the scaling as one divisor for every pair.
        info = source.file.tensor("rope_freqs.weight")
        if info.block_type != BlockType.F32 or info.shape != frequencies.shape:
            raise source.refuse(
                f"rope_freqs.weight is {info.block_type.name} {info.shape}, "
                f"not F32 {frequencies.shape}"
            )
        data = source.file.tensor_data("rope_freqs.weight")
        divisors = dequantize(data, info.block_type, info.shape)
        if not (np.isfinite(divisors).all() and (divisors > 0).all()):
            raise source.refuse("rope_freqs.weight holds a value that is not a number > 0")
        frequencies = frequencies / divisors
    return frequencies
