"""A GGUF file as a transformers configuration and a float32 state dict.

Reads with the gguf package alone, so that a mistake in Realm's reader or block types shows as a
difference. It undoes what llama.cpp's converter did: the row order of llama's q and k projections
(interleaved rotary pairs -> halves) and the 1 that gemma's norm weights carry.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Gemma3TextConfig, LlamaConfig, PreTrainedConfig

from gguf import GGUFReader, dequantize

# GGUF name of a layer's tensor -> transformers' name, for both architectures.
LAYER_NAMES = {
    "attn_q.weight": "self_attn.q_proj.weight",
    "attn_k.weight": "self_attn.k_proj.weight",
    "attn_v.weight": "self_attn.v_proj.weight",
    "attn_output.weight": "self_attn.o_proj.weight",
    "attn_norm.weight": "input_layernorm.weight",
    "ffn_gate.weight": "mlp.gate_proj.weight",
    "ffn_up.weight": "mlp.up_proj.weight",
    "ffn_down.weight": "mlp.down_proj.weight",
}
LLAMA_LAYER_NAMES = LAYER_NAMES | {"ffn_norm.weight": "post_attention_layernorm.weight"}
GEMMA3_LAYER_NAMES = LAYER_NAMES | {
    "attn_q_norm.weight": "self_attn.q_norm.weight",
    "attn_k_norm.weight": "self_attn.k_norm.weight",
    "post_attention_norm.weight": "post_attention_layernorm.weight",
    "ffn_norm.weight": "pre_feedforward_layernorm.weight",
    "post_ffw_norm.weight": "post_feedforward_layernorm.weight",
}
ARCHITECTURE_NAMES = {"llama": LLAMA_LAYER_NAMES, "gemma3": GEMMA3_LAYER_NAMES}
TOP_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
# Not in the file: the Gemma 3 report (arXiv:2503.19786, section 2) and llama.cpp fix both.
GEMMA3_LOCAL_ROPE_BASE = 10_000.0
GEMMA3_LAYERS_PER_GLOBAL = 6
GEMMA3_27B_LAYERS = 62


@dataclass(frozen=True, slots=True)
class Float32Weights:
    """What transformers needs to build the model of a file."""

    architecture: str
    config: PreTrainedConfig
    state: dict[str, torch.Tensor]


class PlainArrayReader(GGUFReader):
    """A reader over a plain array: slicing a memory map object a million times takes seconds."""

    @property
    def data(self) -> np.ndarray:
        return self._data

    @data.setter
    def data(self, mapped: np.ndarray) -> None:
        self._data = np.asarray(mapped)


def read_weights(path: Path) -> Float32Weights:
    """Configuration and every tensor of a llama or gemma3 file, dequantised to float32."""
    reader = PlainArrayReader(path)
    architecture = str(reader.fields["general.architecture"].contents())
    fields = _ArchitectureFields(reader, architecture)
    vocabulary = len(reader.fields["tokenizer.ggml.tokens"].data)
    tied = all(tensor.name != "output.weight" for tensor in reader.tensors)
    if architecture == "llama":
        config = _llama_config(fields, vocabulary, tied)
    elif architecture == "gemma3":
        config = _gemma3_config(fields, vocabulary, tied)
    else:
        raise ValueError(f"{path}: the oracle knows llama and gemma3, not {architecture}")
    state: dict[str, torch.Tensor] = {}
    for tensor in reader.tensors:
        values = np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
        state |= transformers_tensor(architecture, config, tensor.name, values)
    return Float32Weights(architecture, config, state)


def transformers_tensor(
    architecture: str, config: PreTrainedConfig, name: str, values: np.ndarray
) -> dict[str, torch.Tensor]:
    """One tensor of a file under transformers' name, as transformers wants it."""
    renamed = _transformers_name(name, ARCHITECTURE_NAMES[architecture])
    if architecture == "llama" and renamed.endswith("q_proj.weight"):
        values = _halves_from_pairs(values, config.num_attention_heads)
    elif architecture == "llama" and renamed.endswith("k_proj.weight"):
        values = _halves_from_pairs(values, config.num_key_value_heads)
    elif architecture == "gemma3" and renamed.endswith("norm.weight"):
        values = values - np.float32(1.0)
    return {renamed: torch.from_numpy(np.ascontiguousarray(values))}


class _ArchitectureFields:
    """Metadata under the architecture's prefix."""

    def __init__(self, reader: GGUFReader, architecture: str) -> None:
        self._reader = reader
        self._architecture = architecture

    def __getitem__(self, key: str) -> Any:
        return self._reader.fields[f"{self._architecture}.{key}"].contents()

    def get(self, key: str, default: Any) -> Any:
        field = self._reader.fields.get(f"{self._architecture}.{key}")
        return default if field is None else field.contents()


def _shared_options(fields: _ArchitectureFields, vocabulary: int, tied: bool) -> dict[str, Any]:
    heads = fields["attention.head_count"]
    return {
        "vocab_size": vocabulary,
        "hidden_size": fields["embedding_length"],
        "intermediate_size": fields["feed_forward_length"],
        "num_hidden_layers": fields["block_count"],
        "num_attention_heads": heads,
        "num_key_value_heads": fields["attention.head_count_kv"],
        "head_dim": fields.get("attention.key_length", fields["embedding_length"] // heads),
        "max_position_embeddings": fields["context_length"],
        "rms_norm_eps": fields["attention.layer_norm_rms_epsilon"],
        "tie_word_embeddings": tied,
    }


def _llama_config(fields: _ArchitectureFields, vocabulary: int, tied: bool) -> LlamaConfig:
    return LlamaConfig(
        **_shared_options(fields, vocabulary, tied),
        rope_parameters={
            "rope_type": "default",
            "rope_theta": fields.get("rope.freq_base", 10_000.0),
        },
    )


def _gemma3_config(fields: _ArchitectureFields, vocabulary: int, tied: bool) -> Gemma3TextConfig:
    options = _shared_options(fields, vocabulary, tied)
    layers = options["num_hidden_layers"]
    wide = layers == GEMMA3_27B_LAYERS
    score_width = options["hidden_size"] // options["num_attention_heads"]
    kinds = [
        "full_attention" if (layer + 1) % GEMMA3_LAYERS_PER_GLOBAL == 0 else "sliding_attention"
        for layer in range(layers)
    ]
    return Gemma3TextConfig(
        **options,
        hidden_activation="gelu_pytorch_tanh",
        # Only the 27B model scales its scores by another width than a head's.
        query_pre_attn_scalar=score_width if wide else options["head_dim"],
        sliding_window=fields["attention.sliding_window"],
        layer_types=kinds,
        rope_parameters={
            "full_attention": {
                "rope_type": "default",
                "rope_theta": fields.get("rope.freq_base", 1_000_000.0),
            },
            "sliding_attention": {
                "rope_type": "default",
                "rope_theta": fields.get("rope.freq_base_swa", GEMMA3_LOCAL_ROPE_BASE),
            },
        },
    )


def _transformers_name(name: str, layer_names: dict[str, str]) -> str:
    if name in TOP_NAMES:
        return TOP_NAMES[name]
    _, layer, rest = name.split(".", 2)
    return f"model.layers.{layer}.{layer_names[rest]}"


def _halves_from_pairs(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows (h, pair, side) -> (h, side, pair): undoes the converter's order for llama."""
    rows, columns = values.shape
    paired = values.reshape(heads, rows // heads // 2, 2, columns)
    return paired.swapaxes(1, 2).reshape(rows, columns)
