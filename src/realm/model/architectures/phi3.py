"""phi3: Phi-3, Phi-3.5 and Phi-4 mini: fused tensors, LongRoPE, a rotation of part of each head.

Source: Abdin et al., 2024. One tensor holds the rows of query, key and value; one those of gate and
up. A window of 0 is none. Query and key rows stand as in the original.
"""

from __future__ import annotations

from dataclasses import replace

from realm.model.architectures.decoder import read_decoder
from realm.model.architectures.source import MetadataSource
from realm.model.hyperparameters import Hyperparameters


def read_phi3(source: MetadataSource) -> Hyperparameters:
    """Hyperparameters from `phi3.*` keys; raises ArchitectureError and GGUFMetadataError."""
    return replace(
        read_decoder(source, window=source.window()), fused_query_key_value=True, fused_gate_up=True
    )
