"""The weights that training begins with: the target's own where they fit, else small noise.

What attention adds begins at nothing: in a draft it sees the few tokens of that draft alone, which
is not what the target's layer has learnt to read. So does what features of layers add.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from realm.distill.shape import ROPE_BASE, DraftShape, shape_like
from realm.distill.vocabulary import DraftVocabulary
from realm.errors import ConfigError
from realm.gguf import open_gguf
from realm.kernels.dequantize import dequantize
from realm.model import StoredModel
from realm.model.architectures.realm_draft import MOST_FEATURE_LAYERS

Weights = dict[str, NDArray[np.float32]]
_FEATURE_SHARE = 0.5
_EMBEDDING, _HEAD = "token_embd.weight", "output.weight"


def first_weights(
    model: StoredModel,
    vocabulary: DraftVocabulary,
    from_layers: Sequence[int],
    feature_layers: tuple[int, ...],
    *,
    tied: bool,
    seed: int,
) -> tuple[DraftShape, Weights]:
    """The draft's shape and its weights, float32.

    from_layers: which of the target's layers each of the draft's begins as, -1 the last one. A
    target of another architecture than llama gives only its token embeddings. Raises ConfigError
    as `draft_shape` does.
    """
    shape = draft_shape(model, len(vocabulary), from_layers, feature_layers, tied=tied)
    count = model.hyperparameters.layer_count
    weights = _noise(shape, np.random.default_rng(seed))
    alike = model.hyperparameters.architecture == "llama"
    sources = {_EMBEDDING: _EMBEDDING} if tied else {_EMBEDDING: _EMBEDDING, _HEAD: _HEAD}
    if alike:
        sources["output_norm.weight"] = "output_norm.weight"
        for index, layer in enumerate(from_layers):
            prefix = f"blk.{index}."
            for name in shape.tensors():
                if name.startswith(prefix) and not name.endswith("attn_output.weight"):
                    sources[name] = f"blk.{layer % count}.{name.removeprefix(prefix)}"
    _take(model, vocabulary, sources, weights)
    # Token and feature begin as large as each other.
    embedding, features = weights[_EMBEDDING], weights["output_norm.weight"]
    weights[_EMBEDDING] = embedding * (_size(features) / _size(embedding))
    return shape, weights


def weights_of(draft: StoredModel, shape: DraftShape) -> Weights:
    """What an earlier draft has of a new one's tensors, float32.

    Raises ConfigError when one of them has another shape or another use, or the new one leaves
    something out of it: layers, a head of its own, features that it reads, in their order.
    """
    own = draft.hyperparameters
    known = own.feature_layers
    if known != shape.feature_layers[: len(known)]:
        raise ConfigError(f"{draft.name}: reads features of layers {known}")
    used = (own.head_count, own.kv_head_count, own.epsilon, _rope_base(draft))
    if used != (shape.head_count, shape.kv_head_count, shape.epsilon, shape.rope_base):
        raise ConfigError(f"{draft.name}: heads, norms or rotation are not those of the new draft")
    weights: Weights = {}
    with open_gguf(draft.path) as file:
        left_out = sorted(file.tensors.keys() - shape.tensors().keys())
        if left_out:
            raise ConfigError(f"{draft.name}: {left_out[0]} would be left out")
        for name, size in shape.tensors().items():
            info = file.tensors.get(name)
            if info is None and name in shape.feature_names:
                continue
            if info is None or info.shape != size:
                raise ConfigError(f"{draft.name}: {name} is not there, or not {size}")
            values = dequantize(file.tensor_data(name), info.block_type, info.shape)
            weights[name] = np.ascontiguousarray(values, np.float32)
    return weights


def draft_shape(
    model: StoredModel,
    vocabulary_size: int,
    from_layers: Sequence[int],
    feature_layers: tuple[int, ...],
    *,
    tied: bool,
) -> DraftShape:
    """The shape alone. Raises ConfigError for a layer that the target does not have."""
    count = model.hyperparameters.layer_count
    for layer, least in (
        *((each, -count) for each in from_layers),
        *((each, 0) for each in feature_layers),
    ):
        if not least <= layer < count:
            raise ConfigError(f"the target has {count} layers, not one of number {layer}")
    if len(set(feature_layers)) < len(feature_layers) or len(feature_layers) > MOST_FEATURE_LAYERS:
        raise ConfigError(f"features are of at most {MOST_FEATURE_LAYERS} different layers")
    return shape_like(
        model.hyperparameters,
        vocabulary_size,
        len(from_layers),
        _rope_base(model),
        feature_layers,
        tied=tied,
    )


def _take(
    model: StoredModel, vocabulary: DraftVocabulary, sources: dict[str, str], weights: Weights
) -> None:
    """Put the target's tensors where they have the same shape."""
    with open_gguf(model.path) as file:
        for name, source in sources.items():
            if source == _HEAD and source not in file.tensors:
                source = _EMBEDDING  # noqa: PLW2901  (the target's are tied)
            info = file.tensors.get(source)
            if info is None:
                continue
            values = dequantize(file.tensor_data(source), info.block_type, info.shape)
            if name in (_EMBEDDING, _HEAD):
                known = vocabulary.to_target[:-1]
                rest = np.delete(values, known, axis=0)
                other = rest.mean(0, keepdims=True) if len(rest) else values.mean(0, keepdims=True)
                values = np.concatenate([values[known], other])
            if values.shape == weights[name].shape:
                weights[name] = np.ascontiguousarray(values, np.float32)


def _size(values: NDArray[np.float32]) -> np.float32:
    """Root of the mean square."""
    return np.float32(np.sqrt(np.mean(np.square(values))))


def _noise(shape: DraftShape, random: np.random.Generator) -> Weights:
    weights: Weights = {}
    for name, size in shape.tensors().items():
        if len(size) == 1:
            weights[name] = np.ones(size, np.float32)
        elif name == shape.feature_names[0]:
            weights[name] = np.float32(_FEATURE_SHARE) * np.eye(*size, dtype=np.float32)
        elif name in shape.feature_names or name.endswith("attn_output.weight"):
            weights[name] = np.zeros(size, np.float32)
        else:
            scale = 0.02 if name in (_EMBEDDING, _HEAD) else 0.5 * size[1] ** -0.5
            weights[name] = (random.standard_normal(size) * scale).astype(np.float32)
    return weights


def _rope_base(model: StoredModel) -> float:
    """The first layer's, from its file; the usual one where it says none."""
    architecture = model.hyperparameters.architecture
    value = model.metadata.get(f"{architecture}.rope.freq_base")
    return float(value) if isinstance(value, int | float) else ROPE_BASE
