"""The draft as torch computes it, for training alone: Realm itself runs the file that is written.

The decoder that `realm.model.architectures.realm_draft` reads: RMS norms before attention and the
gated feed-forward part (SiLU), neighbouring dimensions rotated, heads that share keys and values
(Touvron et al., 2023); each token's embedding is joined by a feature, the target's and then the
draft's own (Li et al., 2024).
"""

from __future__ import annotations

from collections.abc import Sequence

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

    def chain(
        self, features: torch.Tensor, tokens: torch.Tensor, counts: Sequence[int]
    ) -> list[torch.Tensor]:
        """What the head multiplies behind each token of many drafts: [counts[n], hidden] each.

        features: float32 [drafts, parts, hidden], what the target's head and some of its layers
        multiplied to draw the first token. tokens: int64 [drafts, n], the draft's. counts: how many
        of the drafts, from the first on, go so far; each at most the one before.
        """
        w = self.weights
        cosines, sines = _rotation(self.shape, len(counts))
        seen: list[list[tuple[torch.Tensor, torch.Tensor]]] = [[] for _ in self._layers]
        state, found = features[:, 0], []
        for place, count in enumerate(counts):
            rotation = cosines[place], sines[place]
            rows = functional.embedding(tokens[:count, place], w["token_embd.weight"])
            of_head, *of_layers = self.shape.feature_names
            rows = rows + functional.linear(state[:count], w[of_head])
            for part, name in enumerate(of_layers if place == 0 else (), 1):
                rows = rows + functional.linear(features[:count, part], w[name])
            for layer, cache in zip(self._layers, seen, strict=True):
                normed = self._norm(rows, layer + "attn_norm.weight")
                rows = rows + self._attention(normed, layer, rotation, cache)
                normed = self._norm(rows, layer + "ffn_norm.weight")
                gate = functional.silu(functional.linear(normed, w[layer + "ffn_gate.weight"]))
                up = functional.linear(normed, w[layer + "ffn_up.weight"])
                rows = rows + functional.linear(gate * up, w[layer + "ffn_down.weight"])
            state = self._norm(rows, "output_norm.weight")
            found.append(state)
        return found

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

    @property
    def _layers(self) -> list[str]:
        return [f"blk.{index}." for index in range(self.shape.layer_count)]

    def _attention(
        self,
        rows: torch.Tensor,
        layer: str,
        rotation: tuple[torch.Tensor, torch.Tensor],
        cache: list[tuple[torch.Tensor, torch.Tensor]],
    ) -> torch.Tensor:
        """rows: [drafts, hidden]. cache: keys and values of the tokens before; this one's join."""
        count = len(rows)
        queries, keys, values = (
            functional.linear(rows, self.weights[f"{layer}attn_{part}.weight"]).view(
                count, -1, self.shape.head_size
            )
            for part in "qkv"
        )
        cache.append((_rotate(keys, rotation), values))
        all_keys, all_values = (
            torch.stack([each[:count] for each in part], 2) for part in zip(*cache, strict=True)
        )
        mixed = functional.scaled_dot_product_attention(
            _rotate(queries, rotation)[:, :, None],
            all_keys,
            all_values,
            enable_gqa=self.shape.kv_head_count < self.shape.head_count,
        )
        return functional.linear(
            mixed.reshape(count, -1), self.weights[layer + "attn_output.weight"]
        )


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
