"""Weights from a GGUF file into the native core, packed once.

Every tensor is checked against the hyperparameters before anything is packed; the file's own pages
are given back as soon as a tensor is packed, so that weights stand in memory once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realm.errors import MissingTensorError, NotSupportedError, TensorShapeError
from realm.gguf import GGUFFile
from realm.kernels import Matrix, Team, Transformer, can_pack
from realm.kernels.block_types import BlockType
from realm.kernels.dequantize import dequantize
from realm.model.architectures.realm_draft import feature_tensors
from realm.model.architectures.rope import ROPE_TENSORS
from realm.model.hyperparameters import Hyperparameters


def load_transformer(
    file: GGUFFile, hyperparameters: Hyperparameters, team: Team, instruction_set: str
) -> Transformer:
    """A native transformer with the file's weights.

    Raises MissingTensorError, TensorShapeError or NotSupportedError, naming the tensor.
    """
    shapes = expected_shapes(hyperparameters, file)
    for name, shape in shapes.items():
        _check(file, name, shape)
    _refuse_others(file, hyperparameters, shapes)
    h = hyperparameters
    native = Transformer(
        instruction_set=instruction_set,
        hidden=h.hidden_size,
        heads=h.head_count,
        kv_heads=h.kv_head_count,
        head_dim=h.head_size,
        ffn=h.feed_forward_size,
        vocabulary=h.vocabulary_size,
        epsilon=h.epsilon,
        embedding_scale=h.embedding_scale,
        residual_scale=h.residual_scale,
        attention_scale=h.attention_scale,
        attention_softcap=h.attention_softcap,
        logit_softcap=h.logit_softcap,
        gate=int(h.gate),
    )
    for rope in h.ropes:
        native.add_rope(rope.inverse_frequencies, rope.magnitude, rope.interleaved)
    weights = _Weights(file, native, team)
    for index, kind in enumerate(h.layers):
        layer = f"blk.{index}."
        gate, up = weights.gate_and_up(layer, fused=h.fused_gate_up)
        native.add_layer(
            attention_norm=weights.vector(layer + "attn_norm.weight"),
            ffn_norm=weights.vector(layer + "ffn_norm.weight"),
            qkv=weights.query_key_value(layer, fused=h.fused_query_key_value),
            output=weights.matrix(layer + "attn_output.weight"),
            gate=gate,
            up=up,
            down=weights.matrix(layer + "ffn_down.weight"),
            rope=kind.rope,
            window=kind.window,
            post_attention_norm=weights.optional(layer + "post_attention_norm.weight"),
            post_ffn_norm=weights.optional(layer + "post_ffw_norm.weight"),
            query_norm=weights.optional(layer + "attn_q_norm.weight"),
            key_norm=weights.optional(layer + "attn_k_norm.weight"),
            qkv_bias=weights.biases(layer) if h.query_key_value_biases else None,
        )
    embedding = weights.matrix("token_embd.weight")
    tied = "output.weight" not in file.tensors
    head = embedding if tied else weights.matrix("output.weight")
    native.set_embedding(embedding)
    if h.reads_features:
        for name in feature_tensors(h.feature_layers):
            native.add_feature(weights.matrix(name))
    # A factor of the logits is one of the row that the head multiplies.
    native.set_head(head, weights.vector("output_norm.weight") * np.float32(h.logit_scale))
    return native


def expected_shapes(h: Hyperparameters, file: GGUFFile) -> dict[str, tuple[int, ...]]:
    """Every tensor that the decoder needs, with its shape [outputs, inputs] or [size]."""
    hidden, ffn = h.hidden_size, h.feed_forward_size
    queries, cached = h.head_count * h.head_size, h.kv_head_count * h.head_size
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (h.vocabulary_size, hidden),
        "output_norm.weight": (hidden,),
    }
    if "output.weight" in file.tensors:
        shapes["output.weight"] = (h.vocabulary_size, hidden)
    if h.reads_features:
        shapes |= dict.fromkeys(feature_tensors(h.feature_layers), (hidden, hidden))
    layer: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (hidden,),
        "attn_output.weight": (hidden, queries),
        "ffn_norm.weight": (hidden,),
        "ffn_down.weight": (hidden, ffn),
    }
    if h.fused_query_key_value:
        layer |= {"attn_qkv.weight": (queries + 2 * cached, hidden)}
    else:
        layer |= {"attn_q.weight": (queries, hidden)}
        layer |= {"attn_k.weight": (cached, hidden), "attn_v.weight": (cached, hidden)}
    if h.fused_gate_up:
        layer |= {"ffn_up.weight": (2 * ffn, hidden)}
    else:
        layer |= {"ffn_gate.weight": (ffn, hidden), "ffn_up.weight": (ffn, hidden)}
    if h.query_key_value_biases:
        layer |= {"attn_q.bias": (queries,), "attn_k.bias": (cached,), "attn_v.bias": (cached,)}
    if h.post_norms:
        layer |= {"post_attention_norm.weight": (hidden,), "post_ffw_norm.weight": (hidden,)}
    if h.query_key_norms:
        layer |= {"attn_q_norm.weight": (h.head_size,), "attn_k_norm.weight": (h.head_size,)}
    for index in range(h.layer_count):
        shapes |= {f"blk.{index}.{name}": shape for name, shape in layer.items()}
    return shapes


def _check(file: GGUFFile, name: str, shape: tuple[int, ...]) -> None:
    info = file.tensors.get(name)
    if info is None:
        raise MissingTensorError(f"{file.path}: tensor {name!r} is missing")
    if info.shape != shape:
        raise TensorShapeError(f"{file.path}: tensor {name!r} is {info.shape} instead of {shape}")
    if len(shape) == 1 and info.block_type != BlockType.F32:
        raise NotSupportedError(
            f"{file.path}: tensor {name!r} is {info.block_type.name}; norms and biases must be F32"
        )
    if len(shape) == 2 and not can_pack(int(info.block_type)):
        raise NotSupportedError(
            f"{file.path}: tensor {name!r} is {info.block_type.name}, which cannot run yet"
        )


def _refuse_others(file: GGUFFile, h: Hyperparameters, shapes: dict[str, tuple[int, ...]]) -> None:
    """A tensor that would be left out means another computation than the one that runs here."""
    for name in file.tensors:
        if name not in shapes and name not in ROPE_TENSORS:
            raise NotSupportedError(
                f"{file.path}: tensor {name!r} has no place in a {h.architecture} decoder here"
            )


class _Weights:
    """Packs tensors of one file for one native transformer."""

    __slots__ = ("_file", "_native", "_team")

    def __init__(self, file: GGUFFile, native: Transformer, team: Team) -> None:
        self._file = file
        self._native = native
        self._team = team

    def matrix(self, name: str) -> Matrix:
        info = self._file.tensors[name]
        data = self._file.tensor_data(name)
        matrix = self._native.pack(
            self._team, int(info.block_type), data, info.shape[0], info.shape[1]
        )
        self._file.release(name)
        return matrix

    def query_key_value(self, layer: str, *, fused: bool) -> list[Matrix]:
        if fused:  # the rows stand in the order that the core wants
            return [self.matrix(layer + "attn_qkv.weight")]
        return [self.matrix(f"{layer}attn_{part}.weight") for part in "qkv"]

    def gate_and_up(self, layer: str, *, fused: bool) -> tuple[Matrix, Matrix]:
        if fused:
            return self.halves(layer + "ffn_up.weight")
        return self.matrix(layer + "ffn_gate.weight"), self.matrix(layer + "ffn_up.weight")

    def halves(self, name: str) -> tuple[Matrix, Matrix]:
        """A tensor's first and second half of rows, each a matrix."""
        info = self._file.tensors[name]
        first, second = (
            self._native.pack(
                self._team, int(info.block_type), part, info.shape[0] // 2, info.shape[1]
            )
            for part in np.split(self._file.tensor_data(name), 2)
        )
        self._file.release(name)
        return first, second

    def biases(self, layer: str) -> NDArray[np.float32]:
        return np.concatenate([self.vector(f"{layer}attn_{part}.bias") for part in "qkv"])

    def vector(self, name: str) -> NDArray[np.float32]:
        info = self._file.tensors[name]
        return dequantize(self._file.tensor_data(name), info.block_type, info.shape)

    def optional(self, name: str) -> NDArray[np.float32] | None:
        return self.vector(name) if name in self._file.tensors else None
