"""Change sound adapters at random, very often: each loads whole or ends in an AdapterError.

    python -m attacks.adapters.fuzz --mutations 50000 --seed 1

Mutates the configuration, the safetensors file and the GGUF file as `attacks.gguf.fuzz` does, and
the JSON of both by digits and words besides. What loads is checked: shapes, and no number that is
none. Prints what came out; exits with 1 on any other outcome, or when memory grew.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from attacks.adapters import files as f
from attacks.gguf.fuzz import mutate
from realm.errors import AdapterError
from realm.lora import load_adapter

MEMORY_GROWTH_BYTES = 64 << 20
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


def _write_gguf(folder: Path, data: bytes) -> Path:
    path = folder / "adapter.gguf"
    path.write_bytes(data)
    return path


def _config() -> bytes:
    rules = {"rank_pattern": {r"layers\.\d+.*down_proj": 4}, "alpha_pattern": {"q_proj": 3}}
    return json.dumps(f.config(use_rslora=True, target_modules=".*(q|down)_proj", **rules)).encode()


SEEDS: Sequence[Seed] = (
    Seed("configuration", _config, 1 << 20, True, _write_config),
    Seed("safetensors", _weights, 900, True, _write_weights),
    Seed("half", lambda: f.safetensors(f.tensors(dtype="BF16")), 900, True, _write_weights),
    Seed("gguf", f.gguf_adapter, 800, False, _write_gguf),
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


def run(mutations: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Try `mutations` adapters; what came out, and the failures (at most ten are kept)."""
    chance = random.Random(seed)
    sound = [(each, each.data()) for each in SEEDS]
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    for number in range(mutations):
        each, data = chance.choice(sound)
        if each.is_json and chance.random() < 0.5:
            data = mutate_json(data, each.header, chance)
        else:
            data = mutate(data, each.header, chance)
        path = each.write(folder, data)
        try:
            outcomes[outcome(path)] += 1
        except Exception:
            outcomes["FAILED"] += 1
            if len(failures) < 10:
                kept = folder / f"failure-{seed}-{number}.{each.name}"
                kept.write_bytes(data)
                failures.append(f"{kept}\n{traceback.format_exc()}")
    return outcomes, failures


def main() -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(description="Fuzz the readers of adapters.")
    parser.add_argument("--mutations", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for files that fail")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        run(100, options.seed, folder)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        outcomes, failures = run(options.mutations, options.seed, folder)
        seconds = time.perf_counter() - started
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    for name, count in outcomes.most_common():
        print(f"{count:>9} {name}")
    print(f"{options.mutations} mutations in {seconds:.1f} s, memory grew by {growth >> 20} MiB")
    for failure in failures:
        print(failure, file=sys.stderr)
    if growth > MEMORY_GROWTH_BYTES:
        print(f"memory grew by more than {MEMORY_GROWTH_BYTES >> 20} MiB", file=sys.stderr)
    return 1 if failures or growth > MEMORY_GROWTH_BYTES else 0


if __name__ == "__main__":
    sys.exit(main())
