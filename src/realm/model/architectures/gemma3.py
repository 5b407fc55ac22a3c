"""gemma3: Gemma 3 text models.

Source: Gemma Team, 2025: five layers with a sliding window and a rope base of their own, then one
that sees everything; norms before and after each part; norms of queries and keys; embeddings scaled
by the root of the hidden size. Converters store norm weights with their one already added.
"""

from __future__ import annotations

from dataclasses import replace

from realm.model.architectures.decoder import read_decoder
from realm.model.architectures.source import MetadataSource
from realm.model.hyperparameters import Gate, Hyperparameters, LayerKind, Rope

_PATTERN = 6  # every sixth layer is global
_GLOBAL, _LOCAL = 0, 1
_LAYERS_OF_27B = 62


def read_gemma3(source: MetadataSource) -> Hyperparameters:
    """Hyperparameters from `gemma3.*` keys; raises ArchitectureError and GGUFMetadataError."""
    decoder = read_decoder(source, default_base=1000000.0)
    hidden, heads = decoder.hidden_size, decoder.head_count
    window = source.size("attention.sliding_window")
    local_base = source.number("rope.freq_base_swa", default=10000.0)
    # The 27B model alone scales queries by the hidden size a head instead of by the head size.
    scaled_by = hidden // heads if decoder.layer_count == _LAYERS_OF_27B else decoder.head_size
    return replace(
        decoder,
        attention_scale=scaled_by**-0.5,
        gate=Gate.GELU_TANH,
        ropes=(*decoder.ropes, Rope(source.frequencies(decoder.head_size, local_base))),
        layers=tuple(
            LayerKind(rope=_GLOBAL)
            if (layer + 1) % _PATTERN == 0
            else LayerKind(rope=_LOCAL, window=window)
            for layer in range(decoder.layer_count)
        ),
        embedding_scale=hidden**0.5,
        post_norms=True,
        query_key_norms=True,
    )
