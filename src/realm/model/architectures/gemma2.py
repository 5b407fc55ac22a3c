"""gemma2: Gemma 2: windows on every other layer, soft caps on attention and logits.

Source: Gemma Team, 2024; the values that stand in for missing keys are that report's. Norms before
and after each part; embeddings scaled by the root of the hidden size. Converters store norm weights
with their one already added.
"""

from __future__ import annotations

from dataclasses import replace

from realm.model.architectures.decoder import read_decoder
from realm.model.architectures.source import MetadataSource
from realm.model.hyperparameters import Gate, Hyperparameters, LayerKind

_PATTERN = 2  # every second layer is global
_LAYERS_OF_27B = 46


def read_gemma2(source: MetadataSource) -> Hyperparameters:
    """Hyperparameters from `gemma2.*` keys; raises ArchitectureError and GGUFMetadataError."""
    decoder = read_decoder(source)
    hidden, heads = decoder.hidden_size, decoder.head_count
    window = source.window(default=4096)
    # The 27B model alone scales queries by the hidden size a head instead of by the head size.
    scaled_by = hidden // heads if decoder.layer_count == _LAYERS_OF_27B else decoder.head_size
    return replace(
        decoder,
        attention_scale=scaled_by**-0.5,
        gate=Gate.GELU_TANH,
        layers=tuple(
            LayerKind(window=0 if (layer + 1) % _PATTERN == 0 else window)
            for layer in range(decoder.layer_count)
        ),
        embedding_scale=hidden**0.5,
        attention_softcap=source.number("attn_logit_softcapping", default=50.0),
        logit_softcap=source.number("final_logit_softcapping", default=30.0),
        post_norms=True,
    )
