"""What nearly all architectures share: sizes, heads, one rope, RMS norms before each part.

An architecture's own file starts from here and replaces what differs.
"""

from __future__ import annotations

from realm.model.architectures.rope import read_rope
from realm.model.architectures.source import MetadataSource
from realm.model.hyperparameters import Gate, Hyperparameters, LayerKind


def read_decoder(
    source: MetadataSource,
    *,
    interleaved: bool = False,
    default_base: float = 10000.0,
    window: int = 0,
) -> Hyperparameters:
    """A gated decoder with one kind of layer, from keys under the architecture's prefix.

    interleaved: converters stored query and key rows so that rotation pairs neighbours.
    window: tokens that a token sees, in every layer; 0 is all before it.
    Raises ArchitectureError and GGUFMetadataError.
    """
    layer_count = source.size("block_count")
    if layer_count > len(source.file.tensors):
        raise source.refuse(f"{layer_count} layers of {len(source.file.tensors)} tensors")
    hidden = source.size("embedding_length")
    heads = source.size("attention.head_count")
    kv_heads = source.size("attention.head_count_kv", default=heads)
    head_size = source.size("attention.key_length", default=max(hidden // heads, 1))
    value_size = source.size("attention.value_length", default=head_size)
    if value_size != head_size:
        raise source.refuse(f"values of {value_size} with keys of {head_size} are not supported")
    source.check_heads(hidden, heads, kv_heads, head_size)
    feed_forward = source.size("feed_forward_length")
    if feed_forward % 32:
        raise source.refuse(f"feed-forward size {feed_forward} is not a multiple of 32")
    if source.file.get(f"{source.architecture}.expert_count", int, 0):
        raise source.refuse("mixtures of experts are not supported")
    if not source.flag("attention.causal", default=True):
        raise source.refuse("attention that sees later tokens is not supported")
    return Hyperparameters(
        architecture=source.architecture,
        layer_count=layer_count,
        hidden_size=hidden,
        head_count=heads,
        kv_head_count=kv_heads,
        head_size=head_size,
        feed_forward_size=feed_forward,
        vocabulary_size=source.vocabulary_size(),
        context_length=source.size("context_length"),
        epsilon=source.number("attention.layer_norm_rms_epsilon"),
        attention_scale=head_size**-0.5,
        gate=Gate.SILU,
        ropes=(read_rope(source, head_size, interleaved=interleaved, default_base=default_base),),
        layers=(LayerKind(window=window),) * layer_count,
        query_key_value_biases="blk.0.attn_q.bias" in source.file.tensors,
    )
