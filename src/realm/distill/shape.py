"""The shape of a draft: a small decoder of the llama kind that goes on from a target's features."""

from __future__ import annotations

from dataclasses import dataclass

from realm.model import Hyperparameters
from realm.model.architectures.realm_draft import feature_tensors

ROPE_BASE = 10000.0
OF_TOKENS = ("token_embd.weight", "output.weight")
"""The tensors with one row a token."""


@dataclass(frozen=True, slots=True)
class DraftShape:
    """Sizes in elements.

    rope_base: of the rotation's frequencies, whose pairs are neighbours. tied: the head is the
    token embedding. feature_layers: the target's, of which features are read besides its head's.
    """

    layer_count: int
    hidden_size: int
    head_count: int
    kv_head_count: int
    head_size: int
    feed_forward_size: int
    vocabulary_size: int
    context_length: int
    epsilon: float
    rope_base: float
    tied: bool = False
    feature_layers: tuple[int, ...] = ()

    @property
    def feature_names(self) -> list[str]:
        """The tensors that multiply features: of the head, then of each layer."""
        return feature_tensors(self.feature_layers)

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Every tensor by its name in the file, with its shape [outputs, inputs] or [size]."""
        hidden, ffn = self.hidden_size, self.feed_forward_size
        queries, cached = self.head_count * self.head_size, self.kv_head_count * self.head_size
        shapes: dict[str, tuple[int, ...]] = {
            "token_embd.weight": (self.vocabulary_size, hidden),
            "output_norm.weight": (hidden,),
        }
        shapes |= dict.fromkeys(self.feature_names, (hidden, hidden))
        if not self.tied:
            shapes["output.weight"] = (self.vocabulary_size, hidden)
        for index in range(self.layer_count):
            shapes |= {
                f"blk.{index}.attn_norm.weight": (hidden,),
                f"blk.{index}.attn_q.weight": (queries, hidden),
                f"blk.{index}.attn_k.weight": (cached, hidden),
                f"blk.{index}.attn_v.weight": (cached, hidden),
                f"blk.{index}.attn_output.weight": (hidden, queries),
                f"blk.{index}.ffn_norm.weight": (hidden,),
                f"blk.{index}.ffn_gate.weight": (ffn, hidden),
                f"blk.{index}.ffn_up.weight": (ffn, hidden),
                f"blk.{index}.ffn_down.weight": (hidden, ffn),
            }
        return shapes


def shape_like(
    target: Hyperparameters,
    vocabulary_size: int,
    layer_count: int,
    rope_base: float,
    feature_layers: tuple[int, ...],
    *,
    tied: bool,
) -> DraftShape:
    """As wide as the target, so that its weights can be taken to begin with."""
    return DraftShape(
        layer_count=layer_count,
        hidden_size=target.hidden_size,
        head_count=target.head_count,
        kv_head_count=target.kv_head_count,
        head_size=target.head_size,
        feed_forward_size=target.feed_forward_size,
        vocabulary_size=vocabulary_size,
        context_length=target.context_length,
        epsilon=target.epsilon,
        rope_base=rope_base,
        tied=tied,
        feature_layers=feature_layers,
    )
