"""Attacks on `adapter_config.json`: what it asks for, and how it says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attacks.adapters import files as f
from attacks.adapters.attack import Attack
from realm.errors import AdapterError, AdapterFormatError, AdapterKindError


def _config(
    name: str, error: type[AdapterError], place: str, changes: dict[str, Any] | bytes
) -> Attack:
    def make(folder: Path) -> Path:
        document = changes if isinstance(changes, bytes) else f.config(**changes)
        return f.write_folder(folder, document, f.safetensors(f.tensors()))

    return Attack(name, error, place, make)


def _with(**changes: Any) -> bytes:
    """The configuration's text, with numbers and strings that `json` would not write."""
    return json.dumps(f.config(**changes)).encode()


_SLOW = "(.*)*(.*)*(.*)*(.*)*x" * 20

CONFIG: Sequence[Attack] = (
    _config("empty config", AdapterFormatError, "not JSON", b""),
    _config("config not UTF-8", AdapterFormatError, "not UTF-8", b'{"r": "\xff"}'),
    _config("config is a list", AdapterFormatError, "list", b"[]"),
    _config("config of 100,000 brackets", AdapterFormatError, "too deep", b"[" * 100_000),
    _config("config of nested objects", AdapterFormatError, "too deep", b'{"a":' * 50_000 + b"1"),
    _config("config of 5 MB", AdapterFormatError, "too many", b" " * (5 << 20)),
    _config("a key twice", AdapterFormatError, "'r' is there twice", b'{"r": 4, "r": 8}'),
    _config(
        "a number of 10,000 digits",
        AdapterFormatError,
        "not JSON",
        b'{"r": ' + b"9" * 10_000 + b"}",
    ),
    _config("NaN as alpha", AdapterFormatError, "NaN is not JSON", b'{"lora_alpha": NaN}'),
    _config(
        "alpha that overflows",
        AdapterFormatError,
        "lora_alpha: must be a finite",
        _with().replace(b'"lora_alpha": 8', b'"lora_alpha": 1e999'),
    ),
    _config(
        "alpha of 400 digits",
        AdapterFormatError,
        "lora_alpha: must be a finite",
        _with(lora_alpha=10**400),
    ),
    _config("alpha past float32", AdapterFormatError, "no float32", {"lora_alpha": 1e300}),
    _config("alpha is text", AdapterFormatError, "lora_alpha", {"lora_alpha": "8"}),
    _config("rank 0", AdapterFormatError, "1..512, not 0", {"r": 0}),
    _config("rank -1", AdapterFormatError, "1..512, not -1", {"r": -1}),
    _config("rank 2^63", AdapterFormatError, "1..512, not huge", {"r": 2**63}),
    _config("rank 513", AdapterFormatError, "1..512, not 513", {"r": 513}),
    _config("rank 4.0", AdapterFormatError, "whole number", {"r": 4.0}),
    _config("rank true", AdapterFormatError, "whole number", {"r": True}),
    _config("rank of another adapter", AdapterFormatError, "rank 4, and 8", {"r": 8}),
    _config("rank_pattern is a list", AdapterFormatError, "rank_pattern", {"rank_pattern": [4]}),
    _config("rank_pattern of 0", AdapterFormatError, "q_proj", {"rank_pattern": {"q_proj": 0}}),
    _config(
        "rank_pattern malformed", AdapterFormatError, "without its", {"rank_pattern": {"(q": 4}}
    ),
    _config(
        "rank_pattern with a back reference",
        AdapterKindError,
        "not offered",
        {"rank_pattern": {r"(q)_\1": 4}},
    ),
    _config(
        "a pattern that would backtrack for ever",
        AdapterFormatError,
        "does not name its module",
        {"target_modules": _SLOW},
    ),
    _config(
        "a thousand slow patterns",
        AdapterFormatError,
        "take too long to match",
        {"rank_pattern": {f"(.*.*)*x{index}": 4 for index in range(1_000)}},
    ),
    _config(
        "a pattern of 3,000 characters", AdapterFormatError, "3000", {"target_modules": "q" * 3_000}
    ),
    _config("no target_modules", AdapterFormatError, "target_modules", {"target_modules": []}),
    _config(
        "target_modules of numbers", AdapterFormatError, "target_modules", {"target_modules": [1]}
    ),
    _config(
        "a target without factors",
        AdapterFormatError,
        "'model.layers.0.self_attn.v_proj'",
        {"target_modules": ["q_proj", "v_proj", "down_proj"]},
    ),
    _config(
        "factors that are no target",
        AdapterFormatError,
        "'base_model.model.model.layers.0.mlp.down_proj.lora_A.weight'",
        {"target_modules": ["q_proj"]},
    ),
    _config(
        "layers that are none",
        AdapterFormatError,
        "layers_to_transform",
        {"layers_to_transform": ["0"]},
    ),
    _config("not LoRA", AdapterKindError, "'LOHA'", {"peft_type": "LOHA"}),
    _config("no peft_type", AdapterKindError, "peft_type", b"{}"),
    _config("DoRA", AdapterKindError, "use_dora", {"use_dora": True}),
    _config("biases", AdapterKindError, "lora_only", {"bias": "lora_only"}),
    _config("biases of factors", AdapterKindError, "lora_bias", {"lora_bias": True}),
    _config("whole modules", AdapterKindError, "modules_to_save", {"modules_to_save": ["lm_head"]}),
    _config(
        "activated LoRA",
        AdapterKindError,
        "alora_invocation_tokens",
        {"alora_invocation_tokens": [1, 2]},
    ),
    _config(
        "trained tokens",
        AdapterKindError,
        "trainable_token_indices",
        {"trainable_token_indices": {"embed_tokens": [3]}},
    ),
    _config("LoftQ", AdapterKindError, "'loftq'", {"init_lora_weights": "loftq"}),
    _config("PiSSA", AdapterKindError, "'pissa_niter_4'", {"init_lora_weights": "pissa_niter_4"}),
    _config("layers twice", AdapterKindError, "layer_replication", {"layer_replication": [[0, 2]]}),
    _config("transposed layers", AdapterKindError, "fan_in_fan_out", {"fan_in_fan_out": True}),
    _config(
        "a key of the future", AdapterKindError, "'use_telepathy'", {"use_telepathy": {"x": 1}}
    ),
    _config("terminal codes in a key", AdapterKindError, r"\x1b[31m", {"\x1b[31mred\x1b[0m": True}),
)
