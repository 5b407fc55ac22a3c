"""smollm3: SmolLM3, a Llama whose every fourth layer does not rotate.

Source: Bakouch et al., 2025 (SmolLM3), after Yang et al., 2025 (RNoPE). The file has no key for the
step. Converters store query and key rows as for llama.
"""

from __future__ import annotations

from dataclasses import replace

from realm.model.architectures.decoder import read_decoder
from realm.model.architectures.rope import identity_rope
from realm.model.architectures.source import MetadataSource
from realm.model.hyperparameters import Hyperparameters, LayerKind

_PATTERN = 4  # every fourth layer knows no positions
_ROTATED, _IDENTITY = 0, 1


def read_smollm3(source: MetadataSource) -> Hyperparameters:
    """Hyperparameters from `smollm3.*` keys; raises ArchitectureError and GGUFMetadataError."""
    decoder = read_decoder(source, interleaved=True)
    return replace(
        decoder,
        ropes=(*decoder.ropes, identity_rope()),
        layers=tuple(
            LayerKind(rope=_IDENTITY if (layer + 1) % _PATTERN == 0 else _ROTATED)
            for layer in range(decoder.layer_count)
        ),
    )
