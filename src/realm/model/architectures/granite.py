"""granite: the dense Granite models: a Llama with four scales of its own.

Source: IBM Research, 2024 (Granite 3.0); Yang et al., 2022 (why the scales). The file's logit scale
divides. `rope.scaling.finetuned` turns rotation off when it is there and false. Converters store
query and key rows as for llama.
"""

from __future__ import annotations

from dataclasses import replace

from realm.model.architectures.decoder import read_decoder
from realm.model.architectures.rope import identity_rope
from realm.model.architectures.source import MetadataSource
from realm.model.hyperparameters import Hyperparameters


def read_granite(source: MetadataSource) -> Hyperparameters:
    """Hyperparameters from `granite.*` keys; raises ArchitectureError and GGUFMetadataError."""
    decoder = read_decoder(source, interleaved=True)
    rotates = source.flag("rope.scaling.finetuned", default=True)
    return replace(
        decoder,
        attention_scale=source.number("attention.scale", default=decoder.attention_scale),
        embedding_scale=source.number("embedding_scale", default=1.0),
        residual_scale=source.number("residual_scale", default=1.0),
        logit_scale=1.0 / source.number("logit_scale", default=1.0),
        ropes=decoder.ropes if rotates else (identity_rope(),),
    )
