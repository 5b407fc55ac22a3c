"""realm-draft: llama with tensors more, `feature.weight` and others, that multiply a target's
features.

The row that the target's head multiplied to draw a token joins that token's embedding, as in
EAGLE (Li et al., 2024); behind drafted tokens it is the draft's own. What the attention of some of
the target's layers multiplied joins it as well (Li et al., 2025): `realm-draft.feature_layers` says
of which, `feature.0.weight` is for the first of them. `realm.distill` writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from realm.model.architectures.llama import read_llama
from realm.model.architectures.source import MetadataSource
from realm.model.hyperparameters import Hyperparameters

ARCHITECTURE = "realm-draft"
MOST_FEATURE_LAYERS = 8


def feature_tensors(layers: Sequence[int]) -> list[str]:
    """What multiplies features: of the head, then of each of these layers."""
    return ["feature.weight", *(f"feature.{index}.weight" for index in range(len(layers)))]


def read_realm_draft(source: MetadataSource) -> Hyperparameters:
    """Hyperparameters from `realm-draft.*` keys; raises as `read_llama` does."""
    layers = source.layers("feature_layers", MOST_FEATURE_LAYERS)
    return replace(read_llama(source), reads_features=True, feature_layers=layers)
