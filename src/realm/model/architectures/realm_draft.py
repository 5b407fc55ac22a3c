"""realm-draft: llama with one tensor more, `feature.weight`, that multiplies a target's features.

The row that the target's head multiplied to draw a token joins that token's embedding, as in
EAGLE (Li et al., 2024); behind drafted tokens it is the draft's own. `realm.distill` writes it.
"""

from __future__ import annotations

from dataclasses import replace

from realm.model.architectures.llama import read_llama
from realm.model.architectures.source import MetadataSource
from realm.model.hyperparameters import Hyperparameters

ARCHITECTURE = "realm-draft"


def read_realm_draft(source: MetadataSource) -> Hyperparameters:
    """Hyperparameters from `realm-draft.*` keys; raises as `read_llama` does."""
    return replace(read_llama(source), reads_features=True)
