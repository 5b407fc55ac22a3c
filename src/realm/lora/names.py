"""What products are called: in a PEFT folder, in a GGUF file, and here.

Data and its look-up only. A name that is not in these tables is unknown, never guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from realm.lora.adapter import Projection, Target
from realm.lora.base import EMBEDDING_NAME, HEAD_NAME, AdapterBase

PEFT_PREFIX = "base_model.model."
"""What PEFT puts before the path of a module."""

DECODER_PATHS = ("model.", "model.language_model.", "language_model.model.")
"""Where the decoder stands in a transformers model: text models, and those within larger ones."""

_HEAD_PATHS = frozenset({"lm_head", "language_model.lm_head"})
_EMBEDDING_MODULE = "embed_tokens"

EMBEDDING_PATHS = frozenset(path + _EMBEDDING_MODULE for path in DECODER_PATHS)
"""What the embedding may be called in a transformers model."""

# Module of a layer in transformers -> tensor of a layer in GGUF.
_LAYER_MODULES: Mapping[str, str] = MappingProxyType(
    {
        "self_attn.q_proj": "attn_q.weight",
        "self_attn.k_proj": "attn_k.weight",
        "self_attn.v_proj": "attn_v.weight",
        "self_attn.qkv_proj": "attn_qkv.weight",
        "self_attn.o_proj": "attn_output.weight",
        "mlp.gate_proj": "ffn_gate.weight",
        "mlp.up_proj": "ffn_up.weight",
        "mlp.gate_up_proj": "ffn_up.weight",
        "mlp.down_proj": "ffn_down.weight",
    }
)

_LAYER_TENSORS = frozenset(_LAYER_MODULES.values())

_PROJECTIONS: Mapping[str, Projection] = MappingProxyType(
    {
        "attn_q.weight": Projection.QUERY,
        "attn_k.weight": Projection.KEY,
        "attn_v.weight": Projection.VALUE,
        "attn_output.weight": Projection.OUTPUT,
        "ffn_gate.weight": Projection.GATE,
        "ffn_up.weight": Projection.UP,
        "ffn_down.weight": Projection.DOWN,
    }
)


def gguf_name(path: str) -> str | None:
    """The GGUF tensor of a module's path, such as "model.layers.3.mlp.up_proj"; None: unknown."""
    if path in _HEAD_PATHS:
        return HEAD_NAME
    for prefix in DECODER_PATHS:
        if not path.startswith(prefix):
            continue
        module = path[len(prefix) :]
        if module == _EMBEDDING_MODULE:
            return EMBEDDING_NAME
        folder, _, rest = module.partition(".")
        index, _, name = rest.partition(".")
        if folder == "layers" and _is_index(index) and name in _LAYER_MODULES:
            return f"blk.{index}.{_LAYER_MODULES[name]}"
    return None


def is_product(name: str, base: AdapterBase) -> bool:
    """Whether a GGUF tensor is a product of `base` that an adapter may change."""
    if name not in base.shapes:
        return False
    return name in (EMBEDDING_NAME, HEAD_NAME) or name.split(".", 2)[-1] in _LAYER_TENSORS


def module_paths(base: AdapterBase, decoder: str) -> dict[str, str]:
    """Every module of `base` that an adapter may change: path to GGUF name.

    decoder: one of DECODER_PATHS.
    """
    head = "language_model.lm_head" if decoder.startswith("language_model.") else "lm_head"
    paths = {head: HEAD_NAME, decoder + _EMBEDDING_MODULE: EMBEDDING_NAME}
    fused_gate = "blk.0.ffn_gate.weight" not in base.shapes
    unused = "mlp.up_proj" if fused_gate else "mlp.gate_up_proj"
    for layer in range(base.layer_count):
        for module, tensor in _LAYER_MODULES.items():
            name = f"blk.{layer}.{tensor}"
            if name in base.shapes and module != unused:
                paths[f"{decoder}layers.{layer}.{module}"] = name
    return paths


def layer_of(path: str) -> int:
    """The layer that a module's path is of; -1 for the embedding and the head."""
    name = gguf_name(path)
    parts = name.split(".") if name is not None else []
    return int(parts[1]) if parts[:1] == ["blk"] else -1


def targets_of(name: str, base: AdapterBase) -> list[tuple[Target, slice]]:
    """What a GGUF tensor of `base` is here, with its rows: several parts where it is fused."""
    rows, columns = base.shapes[name]
    if name == EMBEDDING_NAME:  # stored by token: its outputs are the columns
        return [(Target(None, Projection.EMBEDDING), slice(0, columns))]
    if name == HEAD_NAME:
        return [(Target(None, Projection.HEAD), slice(0, rows))]
    _, index, tensor = name.split(".", 2)
    layer = int(index)
    if tensor == "attn_qkv.weight":
        key = base.query_rows
        value = key + base.key_rows
        return [
            (Target(layer, Projection.QUERY), slice(0, key)),
            (Target(layer, Projection.KEY), slice(key, value)),
            (Target(layer, Projection.VALUE), slice(value, rows)),
        ]
    if tensor == "ffn_up.weight" and f"blk.{index}.ffn_gate.weight" not in base.shapes:
        return [
            (Target(layer, Projection.GATE), slice(0, rows // 2)),
            (Target(layer, Projection.UP), slice(rows // 2, rows)),
        ]
    return [(Target(layer, _PROJECTIONS[tensor]), slice(0, rows))]


def _is_index(text: str) -> bool:
    """A layer's number as it is written: no sign, no zeros before it."""
    return text.isascii() and text.isdecimal() and (text == "0" or text[0] != "0")
