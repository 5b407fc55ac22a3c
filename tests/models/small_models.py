"""One small random transformers model for each architecture, and for each variant that matters.

Windows are shorter than the tests' texts, soft caps low enough to bite, heads grouped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tests.models.hugging_face_to_gguf import fill
from transformers import (
    DynamicCache,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

WINDOW = 24
ORIGINAL_CONTEXT = 64
CONTEXT = 512
ROTATED_PAIRS = 4  # of Phi's 8: half of each head is rotated


@dataclass(frozen=True)
class SmallModel:
    """architecture: the name in the file. kind, config: what transformers builds it from."""

    architecture: str
    kind: type[PreTrainedModel]
    config: type[PreTrainedConfig]
    options: dict[str, object]

    def build(self) -> PreTrainedModel:
        """The oracle, float32, with the same weights every time."""
        sizes: dict[str, object] = {
            "vocab_size": 320,
            "hidden_size": 96,
            "intermediate_size": 160,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "max_position_embeddings": CONTEXT,
            "tie_word_embeddings": False,
            "pad_token_id": None,
            "bos_token_id": None,
            "eos_token_id": 319,
            "attn_implementation": "eager",
        }
        model = self.kind(self.config(**(sizes | self.options)))
        fill(model, seed=7)
        return model.float().eval()


def rope(kind: str, **options: object) -> dict[str, object]:
    """`rope_parameters` of transformers."""
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **options}}


# The factor is the ratio of the contexts, or transformers warns.
YARN = rope(
    "yarn", factor=CONTEXT / ORIGINAL_CONTEXT, original_max_position_embeddings=ORIGINAL_CONTEXT
)
STEEP_YARN = rope(
    "yarn",
    factor=CONTEXT / ORIGINAL_CONTEXT,
    original_max_position_embeddings=ORIGINAL_CONTEXT,
    attention_factor=1.3,
    beta_fast=4.0,
    beta_slow=0.5,
)
LONG_ROPE = rope(
    "longrope",
    partial_rotary_factor=0.5,
    short_factor=[1.0 + 0.1 * pair for pair in range(ROTATED_PAIRS)],
    long_factor=[1.0 + pair for pair in range(ROTATED_PAIRS)],
)
GEMMA3_ROPE = {
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 20000.0},
    }
}
TIED = {"tie_word_embeddings": True}

SMALL_MODELS = {
    "llama": SmallModel("llama", LlamaForCausalLM, LlamaConfig, {}),
    "llama-tied": SmallModel("llama", LlamaForCausalLM, LlamaConfig, TIED),
    "llama-linear": SmallModel("llama", LlamaForCausalLM, LlamaConfig, rope("linear", factor=4.0)),
    "llama-3.1": SmallModel(
        "llama",
        LlamaForCausalLM,
        LlamaConfig,
        rope(
            "llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=ORIGINAL_CONTEXT,
        ),
    ),
    "llama-yarn": SmallModel("llama", LlamaForCausalLM, LlamaConfig, STEEP_YARN),
    "mistral": SmallModel(
        "llama", MistralForCausalLM, MistralConfig, {"sliding_window": WINDOW, "head_dim": 32}
    ),
    "smollm3": SmallModel("smollm3", SmolLM3ForCausalLM, SmolLM3Config, TIED),
    "qwen2": SmallModel("qwen2", Qwen2ForCausalLM, Qwen2Config, {}),
    "qwen2-yarn": SmallModel("qwen2", Qwen2ForCausalLM, Qwen2Config, YARN | TIED),
    "qwen3": SmallModel("qwen3", Qwen3ForCausalLM, Qwen3Config, TIED | {"head_dim": 32}),
    "gemma2": SmallModel(
        "gemma2",
        Gemma2ForCausalLM,
        Gemma2Config,
        TIED
        | {
            "head_dim": 32,
            "query_pre_attn_scalar": 32,
            "sliding_window": WINDOW,
            "attn_logit_softcapping": 1.0,
            "final_logit_softcapping": 3.0,
        },
    ),
    "gemma3": SmallModel(
        "gemma3",
        Gemma3ForCausalLM,
        Gemma3TextConfig,
        TIED
        | GEMMA3_ROPE
        | {
            "head_dim": 32,
            "query_pre_attn_scalar": 32,
            "sliding_window": WINDOW,
            "num_hidden_layers": 7,
        },
    ),
    "phi3": SmallModel("phi3", Phi3ForCausalLM, Phi3Config, {"sliding_window": WINDOW}),
    "phi3-long": SmallModel(
        "phi3",
        Phi3ForCausalLM,
        Phi3Config,
        LONG_ROPE | {"original_max_position_embeddings": ORIGINAL_CONTEXT},
    ),
    "phi3-short": SmallModel(
        "phi3",
        Phi3ForCausalLM,
        Phi3Config,
        LONG_ROPE | {"original_max_position_embeddings": CONTEXT},
    ),
    "granite": SmallModel(
        "granite",
        GraniteForCausalLM,
        GraniteConfig,
        {
            "embedding_multiplier": 12.0,
            "attention_multiplier": 0.1,
            "residual_multiplier": 0.22,
            "logits_scaling": 4.0,
        },
    ),
}


class HalfCache(DynamicCache):
    """Keeps keys and values as Realm's cache does, in half precision.

    nudge: what they grow by before they are rounded, as a share of them.
    """

    def __init__(self, nudge: float = 0.0) -> None:
        super().__init__()
        self._factor = 1.0 + nudge

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The rounded keys and values so far."""
        keys, values = ((each * self._factor).half().float() for each in (key_states, value_states))
        return super().update(keys, values, *args, **kwargs)


def oracle_logits(
    model: PreTrainedModel, ids: list[int], nudge: float = 0.0
) -> NDArray[np.float32]:
    """float32 [tokens, vocabulary]. nudge: see `HalfCache`."""
    with torch.no_grad():
        logits = model(torch.tensor([ids]), cache=HalfCache(nudge)).logits[0]
    return logits.numpy()
