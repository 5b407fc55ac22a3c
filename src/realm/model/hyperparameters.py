"""What an architecture's metadata comes down to: a decoder as plain data.

Nothing here reads a file: realm.model.architectures fills these records in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Gate(IntEnum):
    """The activation of the gated feed-forward part; the numbers are the native core's."""

    SILU = 0
    GELU_TANH = 1


@dataclass(frozen=True, slots=True, eq=False)
class Rope:
    """Rotary position embedding (Su et al., 2021) of one kind of layer.

    inverse_frequencies: float64 [rotated dimensions / 2], radians a position.
    magnitude: factor of cosine and sine.
    interleaved: pairs are dimensions (2i, 2i + 1) instead of (i, i + half).
    """

    inverse_frequencies: NDArray[np.float64]
    magnitude: float = 1.0
    interleaved: bool = False


@dataclass(frozen=True, slots=True)
class LayerKind:
    """What differs between the layers of one model.

    rope: index into `Hyperparameters.ropes`.
    window: how many tokens a token sees, itself included; 0 is all before it.
    """

    rope: int = 0
    window: int = 0


def feature_parts(layers: Sequence[int], known: Sequence[int]) -> list[int]:
    """Where features of the head and of `layers` stand among those of the head and of `known`."""
    return [0, *(1 + known.index(each) for each in layers)]


@dataclass(frozen=True, slots=True, eq=False)
class Hyperparameters:
    """One decoder-only transformer.

    Sizes are in elements; attention_scale multiplies queries; embedding_scale multiplies token
    embeddings; residual_scale multiplies what attention and the feed-forward part add;
    logit_scale multiplies logits; a soft cap of 0 is none. post_norms: a norm after attention and
    after the feed-forward part, before each is added. query_key_norms: an RMS norm of every
    head's query and key before rotation. query_key_value_biases: a bias on each of the three.
    fused_query_key_value, fused_gate_up: the file holds them as one tensor, rows in that order.
    reads_features: what another model's head multiplied joins each token's embedding, so it can
    only draft for that model. feature_layers: and what the attention of these layers multiplied.
    """

    architecture: str
    layer_count: int
    hidden_size: int
    head_count: int
    kv_head_count: int
    head_size: int
    feed_forward_size: int
    vocabulary_size: int
    context_length: int
    epsilon: float
    attention_scale: float
    gate: Gate
    ropes: tuple[Rope, ...]
    layers: tuple[LayerKind, ...]
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    logit_scale: float = 1.0
    attention_softcap: float = 0.0
    logit_softcap: float = 0.0
    post_norms: bool = False
    query_key_norms: bool = False
    query_key_value_biases: bool = False
    fused_query_key_value: bool = False
    fused_gate_up: bool = False
    reads_features: bool = False
    feature_layers: tuple[int, ...] = ()
