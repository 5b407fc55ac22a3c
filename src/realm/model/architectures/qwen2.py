"""qwen2: Qwen 2 and 2.5: a bias on queries, keys and values.

Source: Yang et al., 2024. Query and key rows stand as in the original: rotation pairs a dimension
with the one half a head further.
"""

from __future__ import annotations

from dataclasses import replace

from realm.model.architectures.decoder import read_decoder
from realm.model.architectures.source import MetadataSource
from realm.model.hyperparameters import Hyperparameters


def read_qwen2(source: MetadataSource) -> Hyperparameters:
    """Hyperparameters from `qwen2.*` keys; raises ArchitectureError and GGUFMetadataError."""
    return replace(read_decoder(source), query_key_value_biases=True)
