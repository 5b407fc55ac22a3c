"""What every fuzz run does: many changed files, one after another, counted by what came out.

Knows no format: a `Fuzz` says what is changed and what reads it. Looks at the failures, which are
all that is not one of the reader's own errors, and at memory.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

MEMORY_GROWTH_BYTES = 64 << 20
KEPT_FAILURES = 10
WARM_UP = 100


@dataclass(frozen=True, slots=True)
class Mutant:
    """A changed file. ending: of the name that it is kept under. write: where its reader looks."""

    ending: str
    data: bytes
    write: Callable[[Path, bytes], Path]


@dataclass(frozen=True, slots=True)
class Fuzz:
    """reader: what is tried, in words. mutations: how many unless the command line says otherwise.

    mutate: the next changed file. outcome: what reading it comes to, in one word; it raises on
    anything but success and the reader's own errors.
    """

    reader: str
    mutations: int
    mutate: Callable[[random.Random], Mutant]
    outcome: Callable[[Path], str]


def into(name: str) -> Callable[[Path, bytes], Path]:
    """Writes to the file of this name in the folder. Returns its path."""

    def write(folder: Path, data: bytes) -> Path:
        path = folder / name
        # Cutting it to nothing first would let some file systems write to the disk each time.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(descriptor, len(data))
            os.pwrite(descriptor, data, 0)
        finally:
            os.close(descriptor)
        return path

    return write


def run(fuzz: Fuzz, mutations: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """Try `mutations` files in `folder`; what came out, and the failures (the first are kept)."""
    chance = random.Random(seed)
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    for number in range(mutations):
        mutant = fuzz.mutate(chance)
        path = mutant.write(folder, mutant.data)
        try:
            outcomes[fuzz.outcome(path)] += 1
        except Exception:
            outcomes["FAILED"] += 1
            if len(failures) < KEPT_FAILURES:
                kept = folder / f"failure-{seed}-{number}.{mutant.ending}"
                kept.write_bytes(mutant.data)
                failures.append(f"{kept}\n{traceback.format_exc()}")
    return outcomes, failures


def main(fuzz: Fuzz, words: Sequence[str] | None = None) -> int:
    """The command line; the exit status. words: None for those of the process."""
    parser = argparse.ArgumentParser(description=f"Fuzz {fuzz.reader}.")
    parser.add_argument("--mutations", type=int, default=fuzz.mutations)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for files that fail")
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        run(fuzz, WARM_UP, options.seed, folder)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        outcomes, failures = run(fuzz, options.mutations, options.seed, folder)
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
