"""The draft as torch computes it, for training alone: Realm itself runs the file that is written.

The same decoder as `realm.model.architectures.llama`: RMS norms before attention and the gated
feed-forward part (SiLU), neighbouring dimensions rotated, heads that share keys and values, the
head tied to the token embedding (Touvron et al., 2023).
"""

from __future__ import annotations

import torch
from torch.nn import functional

from realm.distill.beginning import Weights
from realm.distill.shape import DraftShape


class DraftNetwork:
    """Weights by their names in the file, and the forward pass."""

    def __init__(self, shape: DraftShape, weights: Weights) -> None:
        self.shape = shape
        self.weights = {
            name: torch.tensor(values).requires_grad_() for name, values in weights.items()
        }

    def hidden(self, tokens: torch.Tensor) -> torch.Tensor:
        """What the head multiplies: [texts, tokens, hidden]. tokens: int64 [texts, tokens], the
        draft's; what stands behind a text's end is never seen by its own."""
        w = self.weights
        rotation = _rotation(self.shape, tokens.shape[1])
        rows = functional.embedding(tokens, w["token_embd.weight"])
        for index in range(self.shape.layer_count):
            layer = f"blk.{index}."
            normed = self._norm(rows, layer + "attn_norm.weight")
            rows = rows + self._attention(normed, layer, rotation)
            normed = self._norm(rows, layer + "ffn_norm.weight")
            gate = functional.silu(functional.linear(normed, w[layer + "ffn_gate.weight"]))
            up = functional.linear(normed, w[layer + "ffn_up.weight"])
            rows = rows + functional.linear(gate * up, w[layer + "ffn_down.weight"])
        return self._norm(rows, "output_norm.weight")

    @property
    def head(self) -> torch.Tensor:
        """What multiplies these rows: [draft's tokens, hidden]."""
        return self.weights["token_embd.weight" if self.shape.tied else "output.weight"]

    def numbers(self) -> Weights:
        """The weights as they are now, float32."""
        return {name: each.detach().numpy().copy() for name, each in self.weights.items()}

    def _norm(self, rows: torch.Tensor, name: str) -> torch.Tensor:
        size = (self.shape.hidden_size,)
        return functional.rms_norm(rows, size, self.weights[name], self.shape.epsilon)

    def _attention(
        self, rows: torch.Tensor, layer: str, rotation: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        texts, count, _ = rows.shape
        queries, keys, values = (
            functional.linear(rows, self.weights[f"{layer}attn_{part}.weight"])
            .view(texts, count, -1, self.shape.head_size)
            .transpose(1, 2)
            for part in "qkv"
        )
        mixed = functional.scaled_dot_product_attention(
            _rotate(queries, rotation),
            _rotate(keys, rotation),
            values,
            is_causal=True,
            enable_gqa=self.shape.kv_head_count < self.shape.head_count,
        )
        joined = mixed.transpose(1, 2).reshape(texts, count, -1)
        return functional.linear(joined, self.weights[layer + "attn_output.weight"])


def _rotation(shape: DraftShape, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines, float32 [tokens, head size / 2]."""
    pairs = torch.arange(0, shape.head_size, 2, dtype=torch.float64)
    angles = torch.outer(
        torch.arange(count, dtype=torch.float64), shape.rope_base ** (-pairs / shape.head_size)
    )
    return angles.cos().float(), angles.sin().float()


def _rotate(heads: torch.Tensor, rotation: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    cosines, sines = (each.to(heads.dtype) for each in rotation)
    even, odd = heads[..., 0::2], heads[..., 1::2]
    turned = torch.stack((even * cosines - odd * sines, even * sines + odd * cosines), -1)
    return turned.flatten(-2)
