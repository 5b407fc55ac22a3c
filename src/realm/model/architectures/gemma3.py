"""gemma3: Gemma 3 text models.

Source: Gemma Team, 2025: five layers with a sliding window and a rope base of their own, then one
that sees everything; norms before and after each part; norms of queries and keys; embeddings scaled
by the root of the hidden size. Converters store norm weights with their one already added.
"""

from __future__ import annotations

from realm.model.architectures.source import MetadataSource
from realm.model.hyperparameters import Gate, Hyperparameters, LayerKind, Rope

_PATTERN = 6  # every sixth layer is global
_LOCAL, _GLOBAL = 0, 1


def read_gemma3(source: MetadataSource) -> Hyperparameters:
    """Hyperparameters from `gemma3.*` keys; raises ArchitectureError and GGUFMetadataError."""
    layer_count = source.size("block_count")
    hidden = source.size("embedding_length")
    heads = source.size("attention.head_count")
    kv_heads = source.size("attention.head_count_kv", default=heads)
    head_size = source.size("attention.key_length", default=max(hidden // heads, 1))
    source.check_heads(hidden, heads, kv_heads, head_size)
    window = source.size("attention.sliding_window")
    kind = source.text("rope.scaling.type", "none")
    if kind not in ("none", "linear"):
        raise source.refuse(f"rope scaling {kind!r} is not supported")
    factor = source.number("rope.scaling.factor") if kind == "linear" else 1.0
    local_base = source.number("rope.freq_base_swa", default=10000.0)
    global_base = source.number("rope.freq_base", default=1000000.0)
    # The 27B model alone scales queries by the hidden size a head instead of by the head size.
    scaled_by = hidden // heads if layer_count == 62 else head_size
    return Hyperparameters(
        architecture="gemma3",
        layer_count=layer_count,
        hidden_size=hidden,
        head_count=heads,
        kv_head_count=kv_heads,
        head_size=head_size,
        feed_forward_size=source.size("feed_forward_length"),
        vocabulary_size=source.vocabulary_size(),
        context_length=source.size("context_length"),
        epsilon=source.number("attention.layer_norm_rms_epsilon"),
        attention_scale=scaled_by**-0.5,
        gate=Gate.GELU_TANH,
        ropes=(
            Rope(source.frequencies(head_size, local_base)),
            Rope(source.frequencies(head_size, global_base) / factor),
        ),
        layers=tuple(
            LayerKind(rope=_GLOBAL)
            if (layer + 1) % _PATTERN == 0
            else LayerKind(rope=_LOCAL, window=window)
            for layer in range(layer_count)
        ),
        embedding_scale=hidden**0.5,
        post_norms=True,
        query_key_norms=True,
    )
