"""Change sound adapters at random, very often: each loads whole or ends in an AdapterError.

    python -m attacks.adapters.fuzz --mutations 50000 --seed 1

Mutates the configuration, the safetensors file and the GGUF file as `attacks.gguf.fuzz` does, and
the JSON of both by digits and words besides. What loads is checked: shapes, and no number that is
none. Prints what came out; exits with 1 on any other outcome, or when memory grew.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from attacks.adapters import files as f
from attacks.fuzzing import Fuzz, Mutant, into, main
from attacks.gguf.fuzz import mutate
from realm.errors import AdapterError
from realm.lora import load_adapter

WORDS = (b"null", b"true", b"-1", b"0", b"1e999", b"[]", b"{}", b'""', b"18446744073709551616")
BASE = f.base()


@dataclass(frozen=True, slots=True)
class Seed:
    """One file of a sound adapter. header: bytes at its front that are mutated most."""

    name: str
    data: Callable[[], bytes]
    header: int
    is_json: bool
    write: Callable[[Path, bytes], Path]


@cache
def _weights() -> bytes:
    return f.safetensors(f.tensors())


def _write_config(folder: Path, data: bytes) -> Path:
    return f.write_folder(folder / "peft", data, _weights())


def _write_weights(folder: Path, data: bytes) -> Path:
    return f.write_folder(folder / "peft", f.config(), data)


def _config() -> bytes:
    rules = {"rank_pattern": {r"layers\.\d+.*down_proj": 4}, "alpha_pattern": {"q_proj": 3}}
    return json.dumps(f.config(use_rslora=True, target_modules=".*(q|down)_proj", **rules)).encode()


SEEDS: Sequence[Seed] = (
    Seed("configuration", _config, 1 << 20, True, _write_config),
    Seed("safetensors", _weights, 900, True, _write_weights),
    Seed("half", lambda: f.safetensors(f.tensors(dtype="BF16")), 900, True, _write_weights),
    Seed("gguf", f.gguf_adapter, 800, False, into("adapter.gguf")),
)


def mutate_json(data: bytes, header: int, chance: random.Random) -> bytes:
    """One number or word of the JSON becomes another."""
    front = data[:header]
    digits = [index for index, byte in enumerate(front) if chr(byte).isdigit()]
    if not digits:
        return data
    position = chance.choice(digits)
    if chance.random() < 0.5:
        return data[:position] + str(chance.randrange(10)).encode() + data[position + 1 :]
    return data[:position] + chance.choice(WORDS) + data[position + 1 :]


def outcome(path: Path) -> str:
    """What loading this comes to. Anything but an AdapterError passes through."""
    try:
        adapter = load_adapter(path, BASE)
    except AdapterError as error:
        if str(path) not in str(error):
            raise AssertionError("the message does not name the file") from error
        return type(error).__name__
    assert len(adapter.digest) == 32
    for factor in adapter.factors.values():
        assert factor.a.shape[0] == factor.b.shape[1] == factor.rank
        assert np.isfinite(factor.a).all()
        assert np.isfinite(factor.b).all()
        assert np.isfinite(np.float32(factor.scale))
    return "loads"


@cache
def _sound() -> tuple[tuple[Seed, bytes], ...]:
    return tuple((each, each.data()) for each in SEEDS)


def _mutant(chance: random.Random) -> Mutant:
    seed, data = chance.choice(_sound())
    if seed.is_json and chance.random() < 0.5:
        data = mutate_json(data, seed.header, chance)
    else:
        data = mutate(data, seed.header, chance)
    return Mutant(seed.name, data, seed.write)


FUZZ = Fuzz("the readers of adapters", 50_000, _mutant, outcome)


if __name__ == "__main__":
    sys.exit(main(FUZZ))
