"""llama: Llama 1 to 3, Mistral, SmolLM2 and others that share its shape.

Source: Touvron et al., 2023; GGUF keys as in the GGUF specification. Converters store query and key
rows so that rotation pairs neighbouring dimensions.
"""

from __future__ import annotations

from realm.model.architectures.decoder import read_decoder
from realm.model.architectures.source import MetadataSource
from realm.model.hyperparameters import Hyperparameters


def read_llama(source: MetadataSource) -> Hyperparameters:
    """Hyperparameters from `llama.*` keys; raises ArchitectureError and GGUFMetadataError."""
    return read_decoder(source, interleaved=True, window=source.window())
