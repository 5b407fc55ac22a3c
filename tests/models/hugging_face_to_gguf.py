"""Writes a transformers model as the GGUF file that llama.cpp's converters would make of it.

Names come from gguf's own table. What differs between architectures stands here as data: which
keep query and key rows interleaved, which add one to the weights of norms, which keys they have.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from gguf.quants import dequantize, quantize
from numpy.typing import NDArray
from tests.tiny_model import add_byte_vocabulary
from transformers import PreTrainedConfig, PreTrainedModel

import gguf

INTERLEAVED = {"llama", "smollm3", "granite"}
ADD_ONE_TO_NORMS = {"gemma2", "gemma3"}
WITHOUT_HEAD_SIZE = {"phi3"}
Floats = NDArray[np.float32]


def write_gguf(
    model: PreTrainedModel,
    architecture: str,
    path: Path,
    block_type: str = "F32",
    flags: Mapping[str, bool] = MappingProxyType({}),
) -> Path:
    """Writes the model's weights, matrices in `block_type`, and a vocabulary of bytes.

    flags: further keys, without the architecture's prefix.
    """
    writer = gguf.GGUFWriter(str(path), architecture)
    _add_metadata(writer, model.config, architecture)
    for key, value in flags.items():
        writer.add_bool(f"{architecture}.{key}", value)
    add_byte_vocabulary(writer, model.config.vocab_size)
    names = gguf.get_tensor_name_map(
        next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture),
        model.config.num_hidden_layers,
    )
    for name, parameter in model.named_parameters():
        values = parameter.detach().numpy()
        if architecture in INTERLEAVED and "self_attn.q_proj" in name:
            values = interleaved(values, model.config.num_attention_heads)
        if architecture in INTERLEAVED and "self_attn.k_proj" in name:
            values = interleaved(values, model.config.num_key_value_heads)
        if architecture in ADD_ONE_TO_NORMS and name.endswith("norm.weight"):
            values = values + 1.0
        stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
        assert stored is not None, name
        _add_tensor(writer, stored, values, block_type)
    for name, values in rope_tensors(model).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def interleaved(values: Floats, heads: int) -> Floats:
    """Rows of one head as (0, half, 1, half + 1, ...): rotation then pairs neighbours."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


def rope_tensors(model: PreTrainedModel) -> dict[str, Floats]:
    """Llama 3's divisors, out of the frequencies that transformers computed; LongRoPE's factors."""
    rope = model.config.rope_parameters
    if rope.get("rope_type") == "llama3":
        scaled = model.model.rotary_emb.inv_freq.numpy()
        plain = rope["rope_theta"] ** -(np.arange(len(scaled)) / len(scaled))
        return {"rope_freqs.weight": (plain / scaled).astype(np.float32)}
    if rope.get("rope_type") == "longrope":
        return {
            f"rope_factors_{which}.weight": np.array(rope[f"{which}_factor"], np.float32)
            for which in ("long", "short")
        }
    return {}


def _add_tensor(writer: gguf.GGUFWriter, name: str, values: Floats, block_type: str) -> None:
    if values.ndim == 1 or block_type == "F32":
        writer.add_tensor(name, np.ascontiguousarray(values, np.float32))
        return
    kind = gguf.GGMLQuantizationType[block_type]
    writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)


def _add_metadata(writer: gguf.GGUFWriter, c: PreTrainedConfig, architecture: str) -> None:
    writer.add_block_count(c.num_hidden_layers)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    head_size = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    if architecture not in WITHOUT_HEAD_SIZE:
        writer.add_key_length(head_size)
        writer.add_value_length(head_size)
    if getattr(c, "sliding_window", None):
        writer.add_sliding_window(c.sliding_window)
    if architecture == "gemma2":
        writer.add_attn_logit_softcapping(c.attn_logit_softcapping)
        writer.add_final_logit_softcapping(c.final_logit_softcapping)
    if architecture == "granite":
        writer.add_attention_scale(c.attention_multiplier)
        writer.add_embedding_scale(c.embedding_multiplier)
        writer.add_residual_scale(c.residual_multiplier)
        writer.add_logit_scale(c.logits_scaling)
    rope = c.rope_parameters
    if architecture == "gemma3":
        writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
        rope = rope["full_attention"]
    _add_rope(writer, c, rope, head_size)


def _add_rope(
    writer: gguf.GGUFWriter, c: PreTrainedConfig, rope: dict[str, float], head_size: int
) -> None:
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(int(head_size * rope.get("partial_rotary_factor", 1.0)))
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(int(rope["original_max_position_embeddings"]))
        if "attention_factor" in rope:
            writer.add_rope_scaling_yarn_attn_factor(rope["attention_factor"])
        if "beta_fast" in rope:
            writer.add_rope_scaling_yarn_beta_fast(rope["beta_fast"])
        if "beta_slow" in rope:
            writer.add_rope_scaling_yarn_beta_slow(rope["beta_slow"])
    elif kind == "longrope":
        original = c.original_max_position_embeddings
        scale = c.max_position_embeddings / original
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_rope_scaling_attn_factors(
            math.sqrt(1.0 + math.log(scale) / math.log(original)) if scale > 1.0 else 1.0
        )


def round_weights(model: PreTrainedModel, block_type: str) -> None:
    """Every matrix becomes what its blocks in a file mean."""
    kind = gguf.GGMLQuantizationType[block_type]
    for parameter in model.parameters():
        if parameter.ndim == 2:
            with torch.no_grad():
                blocks = quantize(parameter.numpy(), kind)
                parameter.copy_(torch.from_numpy(dequantize(blocks, kind)))


def round_activations(model: PreTrainedModel) -> None:
    """Every product takes its input as Realm does: 8 bits and a scale for each 32 columns."""

    def rounded(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        blocks = inputs[0].unflatten(-1, (-1, 32))
        scale = blocks.abs().amax(-1, keepdim=True).clamp_min(1e-30) / 127.0
        return ((blocks / scale).round() * scale).flatten(-2)

    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(rounded)


def fill(model: PreTrainedModel, seed: int) -> None:
    """Random weights of a size at which every part of the model shows in its logits."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            if "norm" in name:
                low = -0.5 if type(model).__name__.startswith("Gemma") else 0.5
                parameter.uniform_(low, low + 1.0, generator=generator)
                continue
            size = parameter.shape[-1] ** -0.5 if parameter.ndim == 2 else 1.0
            parameter.normal_(0.0, size, generator=generator)
