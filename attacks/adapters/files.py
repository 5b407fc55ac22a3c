"""Pieces of adapters, right or wrong, for a small base that exists only as its shapes.

Written from the formats' descriptions and independent of Realm's readers. Every part can be
replaced by a lie. Nothing is written to disk but by `write_folder`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from attacks.gguf import files as g
from realm.lora import AdapterBase

LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD_SIZE, FEED_FORWARD, VOCABULARY = 2, 32, 4, 2, 8, 48, 64
RANK = 4
PREFIX = "base_model.model.model.layers."

Tensor = tuple[str, tuple[int, ...], bytes]

# Module in transformers -> tensor in GGUF, outputs, inputs.
PRODUCTS: Mapping[str, tuple[str, int, int]] = {
    "self_attn.q_proj": ("attn_q", HEADS * HEAD_SIZE, HIDDEN),
    "self_attn.k_proj": ("attn_k", KV_HEADS * HEAD_SIZE, HIDDEN),
    "self_attn.v_proj": ("attn_v", KV_HEADS * HEAD_SIZE, HIDDEN),
    "self_attn.o_proj": ("attn_output", HIDDEN, HEADS * HEAD_SIZE),
    "mlp.gate_proj": ("ffn_gate", FEED_FORWARD, HIDDEN),
    "mlp.up_proj": ("ffn_up", FEED_FORWARD, HIDDEN),
    "mlp.down_proj": ("ffn_down", HIDDEN, FEED_FORWARD),
}
DTYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I8": "<i1"}


def base(*, interleaved: bool = True, **changes: Any) -> AdapterBase:
    """The small base: a llama with a head of its own."""
    shapes = {
        f"blk.{layer}.{name}.weight": (outputs, inputs)
        for layer in range(LAYERS)
        for name, outputs, inputs in PRODUCTS.values()
    }
    shapes |= {
        "token_embd.weight": (VOCABULARY, HIDDEN),
        "output.weight": (VOCABULARY, HIDDEN),
    }
    fields: dict[str, Any] = {
        "architecture": "llama",
        "layer_count": LAYERS,
        "hidden_size": HIDDEN,
        "vocabulary_size": VOCABULARY,
        "head_count": HEADS,
        "kv_head_count": KV_HEADS,
        "head_size": HEAD_SIZE,
        "shapes": shapes,
        "interleaved": interleaved,
    }
    return AdapterBase(**(fields | changes))


def config(**changes: Any) -> dict[str, Any]:
    """The configuration of a rank-4 adapter over query and down; None takes a key away."""
    document: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "some/base",
        "r": RANK,
        "lora_alpha": 8,
        "target_modules": ["q_proj", "down_proj"],
        "bias": "none",
        "fan_in_fan_out": False,
        "modules_to_save": None,
        "lora_dropout": 0.05,
    }
    document |= changes
    return document


def matrix(rows: int, columns: int, dtype: str = "F32", seed: int = 0) -> Tensor:
    """Random numbers as a tensor of a safetensors file."""
    values = np.random.default_rng((seed, rows, columns)).standard_normal((rows, columns))
    if dtype == "BF16":
        data = (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
    else:
        data = values.astype(DTYPES[dtype]).tobytes()
    return (dtype, (rows, columns), data)


def full(rows: int, columns: int, value: float) -> Tensor:
    """One number everywhere."""
    return ("F32", (rows, columns), np.full((rows, columns), value, "<f4").tobytes())


def tensors(
    modules: tuple[str, ...] = ("self_attn.q_proj", "mlp.down_proj"),
    *,
    rank: int = RANK,
    dtype: str = "F32",
    layers: int = LAYERS,
    **changes: Tensor | None,
) -> dict[str, Tensor]:
    """Factors of these modules in every layer. changes: by name; None takes a tensor away."""
    found: dict[str, Tensor] = {}
    for layer in range(layers):
        for index, module in enumerate(modules):
            _, outputs, inputs = PRODUCTS[module]
            seed = 100 * layer + index
            found[f"{PREFIX}{layer}.{module}.lora_A.weight"] = matrix(rank, inputs, dtype, seed)
            found[f"{PREFIX}{layer}.{module}.lora_B.weight"] = matrix(outputs, rank, dtype, seed)
    return changed(found, changes)


def changed(found: Mapping[str, Tensor], changes: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """With some tensors replaced, added or, where None, taken away."""
    merged = {**found, **changes}
    return {name: tensor for name, tensor in merged.items() if tensor is not None}


def safetensors(
    content: Mapping[str, Tensor],
    *,
    header: bytes | None = None,
    header_bytes: int | None = None,
    offsets: Mapping[str, list[Any]] | None = None,
    fields: Mapping[str, Mapping[str, Any]] | None = None,
    metadata: Any = None,
    tail: bytes = b"",
) -> bytes:
    """A whole file. header, header_bytes, offsets, fields: lies in place of what is true."""
    entries: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, (dtype, shape, values) in content.items():
        end = len(data) + len(values)
        entry = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), end]}
        if offsets and name in offsets:
            entry["data_offsets"] = offsets[name]
        entries[name] = entry | dict((fields or {}).get(name, {}))
        data += values
    text = json.dumps(entries).encode() if header is None else header
    length = len(text) if header_bytes is None else header_bytes
    return struct.pack("<Q", length) + text + data + tail


def write_folder(
    folder: Path, document: Mapping[str, Any] | bytes | None, weights: bytes | None
) -> Path:
    """A PEFT folder with these files; None leaves one out."""
    folder.mkdir(exist_ok=True)
    if document is not None:
        text = document if isinstance(document, bytes) else json.dumps(document).encode()
        (folder / "adapter_config.json").write_bytes(text)
    if weights is not None:
        (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder


def gguf_keys(**changes: bytes | None) -> list[bytes]:
    """Metadata of a GGUF adapter; None takes a key away, `type` and others by their last word."""
    keys: dict[str, bytes | None] = {
        "architecture": g.key("general.architecture", g.text("llama")),
        "kind": g.key("general.type", g.text("adapter")),
        "type": g.key("adapter.type", g.text("lora")),
        "alpha": g.key("adapter.lora.alpha", g.number(g.F32, 8.0)),
    }
    return [key for key in (keys | changes).values() if key is not None]


def gguf_adapter(
    content: Mapping[str, tuple[tuple[int, ...], bytes]] | None = None,
    keys: list[bytes] | None = None,
    block_type: int = g.TYPE_F32,
) -> bytes:
    """A GGUF adapter. content: NumPy shape and bytes by name; query factors when left out."""
    if content is None:
        content = gguf_content()
    described, data = [], b""
    for name, (shape, values) in content.items():
        described.append(g.tensor(name, tuple(reversed(shape)), block_type))
        data += values + bytes(g.aligned(len(values), 32) - len(values))
    return g.file(gguf_keys() if keys is None else keys, described, data=data)


def gguf_content(
    *, rank: int = RANK, layers: int = LAYERS
) -> dict[str, tuple[tuple[int, ...], bytes]]:
    """Factors of the query and down products, with other names than `tensors` has."""
    content = {}
    for layer in range(layers):
        for module in ("self_attn.q_proj", "mlp.down_proj"):
            name, outputs, inputs = PRODUCTS[module]
            for side, (rows, columns) in {"a": (rank, inputs), "b": (outputs, rank)}.items():
                _, shape, values = matrix(rows, columns, seed=100 * layer)
                content[f"blk.{layer}.{name}.weight.lora_{side}"] = (shape, values)
    return content
