"""Attacks on the factors: names, shapes, types and numbers, in both formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attacks.adapters import files as f
from attacks.adapters.attack import Attack
from attacks.gguf import files as g
from realm.errors import AdapterError, AdapterFormatError, AdapterKindError, AdapterMismatchError

QUERY_A = f"{f.PREFIX}0.self_attn.q_proj.lora_A.weight"
QUERY_B = f"{f.PREFIX}0.self_attn.q_proj.lora_B.weight"
DOWN_B = f"{f.PREFIX}1.mlp.down_proj.lora_B.weight"
Content = Mapping[str, tuple[tuple[int, ...], bytes]]


def _folder(
    name: str,
    error: type[AdapterError],
    place: str,
    changes: Mapping[str, f.Tensor | None],
    **config: Any,
) -> Attack:
    def make(folder: Path) -> Path:
        weights = f.safetensors(f.changed(f.tensors(), changes))
        return f.write_folder(folder, f.config(**config), weights)

    return Attack(name, error, place, make)


def _gguf(name: str, error: type[AdapterError], place: str, build: Callable[[], bytes]) -> Attack:
    def make(folder: Path) -> Path:
        path = folder / "adapter.gguf"
        path.write_bytes(build())
        return path

    return Attack(name, error, place, make)


def _content(**changes: tuple[tuple[int, ...], bytes] | None) -> Content:
    named = {name.replace("__", "."): value for name, value in changes.items()}
    merged = {**f.gguf_content(), **named}
    return {name: value for name, value in merged.items() if value is not None}


def _zeros(*shape: int) -> f.Tensor:
    size = 4
    for each in shape:
        size *= each
    return ("F32", shape, bytes(size))


def _gguf_zeros(*shape: int) -> tuple[tuple[int, ...], bytes]:
    _, shape, data = _zeros(*shape)
    return (shape, data)


_WIDE = {
    name: _zeros(*(600 if size == f.RANK else size for size in shape))
    for name, (_, shape, _) in f.tensors().items()
}

TENSORS: Sequence[Attack] = (
    _folder("no tensors", AdapterFormatError, "not one factor", dict.fromkeys(f.tensors())),
    _folder("A without B", AdapterFormatError, QUERY_A, {QUERY_B: None}),
    _folder("B without A", AdapterFormatError, QUERY_B, {QUERY_A: None}),
    _folder("inputs of another base", AdapterMismatchError, QUERY_A, {QUERY_A: f.matrix(4, 64)}),
    _folder("outputs of another base", AdapterMismatchError, QUERY_B, {QUERY_B: f.matrix(64, 4)}),
    _folder("A transposed", AdapterFormatError, QUERY_A, {QUERY_A: f.matrix(32, 4)}),
    _folder("B transposed", AdapterMismatchError, QUERY_B, {QUERY_B: f.matrix(4, 32)}),
    _folder("ranks that differ", AdapterFormatError, QUERY_B, {QUERY_B: f.matrix(32, 5)}),
    _folder("factor is a vector", AdapterFormatError, QUERY_B, {QUERY_B: _zeros(32)}),
    _folder("factor is a number", AdapterFormatError, QUERY_A, {QUERY_A: _zeros()}),
    _folder("factor of three dimensions", AdapterFormatError, QUERY_A, {QUERY_A: _zeros(4, 32, 1)}),
    _folder(
        "rank 0 in the file",
        AdapterFormatError,
        QUERY_A,
        {QUERY_A: _zeros(0, 32), QUERY_B: _zeros(32, 0)},
    ),
    _folder("rank 600 in the file", AdapterFormatError, "lora_A", _WIDE),
    _folder("NaN", AdapterFormatError, DOWN_B, {DOWN_B: f.full(32, 4, float("nan"))}),
    _folder("infinity", AdapterFormatError, DOWN_B, {DOWN_B: f.full(32, 4, float("-inf"))}),
    _folder("float64", AdapterKindError, DOWN_B, {DOWN_B: f.matrix(32, 4, "F64")}),
    _folder("integers", AdapterKindError, DOWN_B, {DOWN_B: f.matrix(32, 4, "I8")}),
    _folder(
        "a layer too many",
        AdapterMismatchError,
        "'model.layers.2.self_attn.q_proj'",
        {
            f"{f.PREFIX}2.self_attn.q_proj.lora_A.weight": f.matrix(4, 32),
            f"{f.PREFIX}2.self_attn.q_proj.lora_B.weight": f.matrix(32, 4),
        },
    ),
    _folder(
        "a layer too few",
        AdapterMismatchError,
        "made for 1 layers, and the base has 2",
        {name: None for name in f.tensors() if ".layers.1." in name},
    ),
    _folder(
        "a layer lost in the middle",
        AdapterFormatError,
        "'model.layers.0.self_attn.q_proj', and its factors are not",
        {name: None for name in f.tensors() if ".layers.0." in name},
    ),
    _folder(
        "layer -1",
        AdapterMismatchError,
        "layers.-1.",
        {
            f"{f.PREFIX}-1.self_attn.q_proj.lora_A.weight": f.matrix(4, 32),
            f"{f.PREFIX}-1.self_attn.q_proj.lora_B.weight": f.matrix(32, 4),
        },
    ),
    _folder(
        "layer 00 beside layer 0",
        AdapterMismatchError,
        "layers.00.",
        {
            f"{f.PREFIX}00.self_attn.q_proj.lora_A.weight": f.matrix(4, 32),
            f"{f.PREFIX}00.self_attn.q_proj.lora_B.weight": f.matrix(32, 4),
        },
    ),
    _folder(
        "one product by two names",
        AdapterFormatError,
        "means the same product",
        {
            name.replace("model.layers", "model.language_model.layers"): tensor
            for name, tensor in f.tensors().items()
        },
    ),
    _folder(
        "a fused product of another architecture",
        AdapterMismatchError,
        "qkv_proj",
        {
            f"{f.PREFIX}0.self_attn.qkv_proj.lora_A.weight": f.matrix(4, 32),
            f"{f.PREFIX}0.self_attn.qkv_proj.lora_B.weight": f.matrix(64, 4),
        },
    ),
    _folder(
        "a path as a name",
        AdapterFormatError,
        "'../../etc/passwd'",
        {"../../etc/passwd": f.matrix(4, 32)},
    ),
    _folder("no prefix", AdapterFormatError, "'q_proj.lora_A'", {"q_proj.lora_A": f.matrix(4, 32)}),
    _folder(
        "norm weights",
        AdapterKindError,
        "whole weights",
        {f"{f.PREFIX}0.input_layernorm.weight": f.matrix(1, 32)},
    ),
    _folder(
        "DoRA's magnitudes",
        AdapterKindError,
        "DoRA",
        {f"{f.PREFIX}0.self_attn.q_proj.lora_magnitude_vector": f.matrix(1, 32)},
    ),
    _folder(
        "a bias beside a factor",
        AdapterKindError,
        "biases",
        {f"{f.PREFIX}0.self_attn.q_proj.lora_B.bias": f.matrix(1, 32)},
    ),
    _folder(
        "a copy of a layer's weights",
        AdapterKindError,
        "base_layer",
        {f"{f.PREFIX}0.self_attn.q_proj.base_layer.weight": f.matrix(32, 32)},
    ),
    _folder(
        "an embedding's factors named like a layer's",
        AdapterFormatError,
        "embed_tokens",
        {
            "base_model.model.model.embed_tokens.lora_A.weight": f.matrix(4, 64),
            "base_model.model.model.embed_tokens.lora_B.weight": f.matrix(32, 4),
        },
    ),
)

_Q = "blk.0.attn_q.weight.lora_"

GGUF: Sequence[Attack] = (
    _gguf("empty GGUF", AdapterFormatError, "empty", lambda: b""),
    _gguf("GGUF cut in its data", AdapterFormatError, "lora_b", lambda: f.gguf_adapter()[:-60]),
    _gguf(
        "GGUF cut in its header", AdapterFormatError, "tensor count", lambda: f.gguf_adapter()[:80]
    ),
    _gguf("a model", AdapterKindError, "'model'", g.model_file),
    _gguf(
        "a control vector",
        AdapterKindError,
        "'cvec'",
        lambda: f.gguf_adapter(keys=f.gguf_keys(type=g.key("adapter.type", g.text("cvec")))),
    ),
    _gguf(
        "GGUF without a kind of adapter",
        AdapterFormatError,
        "adapter.type",
        lambda: f.gguf_adapter(keys=f.gguf_keys(type=None)),
    ),
    _gguf(
        "another architecture",
        AdapterMismatchError,
        "'qwen2'",
        lambda: f.gguf_adapter(
            keys=f.gguf_keys(architecture=g.key("general.architecture", g.text("qwen2")))
        ),
    ),
    _gguf(
        "GGUF alpha is text",
        AdapterFormatError,
        "adapter.lora.alpha",
        lambda: f.gguf_adapter(keys=f.gguf_keys(alpha=g.key("adapter.lora.alpha", g.text("8")))),
    ),
    _gguf(
        "GGUF alpha is no number",
        AdapterFormatError,
        "scale nan",
        lambda: f.gguf_adapter(
            keys=f.gguf_keys(alpha=g.key("adapter.lora.alpha", g.number(g.F32, float("nan"))))
        ),
    ),
    _gguf(
        "GGUF of an activated LoRA",
        AdapterKindError,
        "invocation_tokens",
        lambda: f.gguf_adapter(
            keys=[*f.gguf_keys(), g.key("adapter.alora.invocation_tokens", g.array(g.U32, [1]))]
        ),
    ),
    _gguf(
        "GGUF A without B",
        AdapterFormatError,
        "lora_b' is not in the file",
        lambda: f.gguf_adapter(_content(**{_Q + "b": None})),
    ),
    _gguf(
        "GGUF factor of another base",
        AdapterMismatchError,
        _Q + "a",
        lambda: f.gguf_adapter(_content(**{_Q + "a": _gguf_zeros(4, 64)})),
    ),
    _gguf(
        "GGUF ranks that differ",
        AdapterFormatError,
        "rank 5, and 4",
        lambda: f.gguf_adapter(_content(**{_Q + "b": _gguf_zeros(32, 5)})),
    ),
    _gguf(
        "GGUF rank 600", AdapterFormatError, "600", lambda: f.gguf_adapter(f.gguf_content(rank=600))
    ),
    _gguf(
        "GGUF of more layers",
        AdapterMismatchError,
        "blk.2.attn_q",
        lambda: f.gguf_adapter(f.gguf_content(layers=3)),
    ),
    _gguf(
        "GGUF norm",
        AdapterKindError,
        "whole weights",
        lambda: f.gguf_adapter(_content(**{"blk.0.attn_norm.weight": _gguf_zeros(1, 32)})),
    ),
    _gguf(
        "GGUF tensor of another kind",
        AdapterFormatError,
        "not a factor",
        lambda: f.gguf_adapter(_content(**{"blk.0.attn_q.weight.lora_c": _gguf_zeros(4, 32)})),
    ),
    _gguf(
        "GGUF factor of a norm",
        AdapterMismatchError,
        "attn_norm",
        lambda: f.gguf_adapter(_content(**{"blk.0.attn_norm.weight.lora_a": _gguf_zeros(4, 32)})),
    ),
    _gguf(
        "GGUF factor is a vector",
        AdapterFormatError,
        "no matrix",
        lambda: f.gguf_adapter(_content(**{_Q + "b": _gguf_zeros(32)})),
    ),
    _gguf(
        "GGUF not a number",
        AdapterFormatError,
        _Q + "a",
        lambda: f.gguf_adapter(_content(**{_Q + "a": f.full(4, 32, float("inf"))[1:]})),
    ),
    _gguf(
        "GGUF of integers",
        AdapterKindError,
        "I8",
        lambda: f.gguf_adapter(block_type=24),
    ),
    _gguf("a zip archive", AdapterKindError, "pickle", lambda: b"PK\x03\x04" + bytes(64)),
    _gguf("a bare pickle", AdapterKindError, "pickle", lambda: b"\x80\x04\x95" + bytes(64)),
    _gguf("bare safetensors", AdapterFormatError, "folder", lambda: f.safetensors(f.tensors())),
)
