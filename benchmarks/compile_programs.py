"""What it takes until a tenant's program can run: compiled here, in a worker, or found compiled.

    python benchmarks/compile_programs.py [--runs 15] [--output FILE]

Each figure is the time of one `GuestHost.compile`, in a host of its own.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import command_line
import results

from realm.cli.guest_compiler import compile_guest, sdk_directory
from realm.runtime.limits import HostLimits
from realm.runtime.module_cache import ModuleCache
from realm.runtime.program import GuestHost, default_program

LIMITS = HostLimits(guest_count=8)


def compile_seconds(host: GuestHost, wasm: bytes) -> float:
    """Of one program in this host."""
    started = time.perf_counter()
    host.compile(wasm)
    return time.perf_counter() - started


def strangers_program(folder: Path) -> bytes:
    """One that is not the default program: the template of `realm guests new`."""
    sources = sorted((sdk_directory() / "template").glob("*.c"))
    compile_guest(sources, folder / "program.wasm")
    return (folder / "program.wasm").read_bytes()


def standing_worker(first: bytes, wasm: bytes) -> float:
    """Seconds when the worker has compiled another program before."""
    host = GuestHost(LIMITS)
    host.compile(first)
    return compile_seconds(host, wasm)


def main() -> int:
    """Measure, print, write the JSON."""
    parser = command_line.parser(__doc__, "output")
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    head = results.begin(runs=arguments.runs)
    ours = default_program()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs = strangers_program(folder)
        other = theirs + b"\0\5\4note"  # the same with a custom section
        filled = ModuleCache(folder / "filled")
        GuestHost(LIMITS, cache=filled).compile(ours)
        empty = iter(ModuleCache(folder / str(number)) for number in range(arguments.runs))
        cases: dict[str, Callable[[], float]] = {
            "default_in_process": lambda: compile_seconds(GuestHost(LIMITS), ours),
            "default_empty_cache": lambda: compile_seconds(
                GuestHost(LIMITS, cache=next(empty)), ours
            ),
            "default_cached": lambda: compile_seconds(GuestHost(LIMITS, cache=filled), ours),
            "other_new_worker": lambda: compile_seconds(GuestHost(LIMITS), theirs),
            "other_standing_worker": lambda: standing_worker(other, theirs),
        }
        taken = {name: [case() for _ in range(arguments.runs)] for name, case in cases.items()}
    facts = {
        name: {"median_seconds": statistics.median(times), "lowest_seconds": min(times)}
        for name, times in taken.items()
    }
    for name, figures in facts.items():
        print(f"{name:22} {figures['median_seconds'] * 1e3:8.2f} ms")
    print(f"written: {results.write(head | facts, 'compile-programs', arguments.output)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
