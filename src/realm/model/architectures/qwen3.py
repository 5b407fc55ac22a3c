"""qwen3: the dense Qwen 3 models: norms of queries and keys instead of biases.

Source: Yang et al., 2025. Query and key rows stand as in the original, as for qwen2.
"""

from __future__ import annotations

from dataclasses import replace

from realm.model.architectures.decoder import read_decoder
from realm.model.architectures.source import MetadataSource
from realm.model.hyperparameters import Hyperparameters


def read_qwen3(source: MetadataSource) -> Hyperparameters:
    """Hyperparameters from `qwen3.*` keys; raises ArchitectureError and GGUFMetadataError."""
    return replace(read_decoder(source), query_key_norms=True)
