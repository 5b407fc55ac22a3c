"""From process start to the first token of a short answer, with a warm file cache.

    python benchmarks/cold_start.py [--model NAME|PATH] [--threads 2] [--runs 10]

Each run is a new `realm run` process. The clock starts before the process does and stops when the
first byte of the answer arrives. Peak memory is the kernel's figure for that process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import command_line
import results

from realm.catalog import Catalog


def measure_once(model: Path, threads: int) -> tuple[float, float, int]:
    """Seconds to the first byte, seconds to the end, peak bytes."""
    command = [sys.executable, "-m", "realm.cli.main", "run", "--model", str(model)]
    command += ["--prompt", "Hello, my name is", "--temperature", "0", "--max-tokens", "8"]
    command += ["--threads", str(threads)]
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )
    assert process.stdout is not None
    with process.stdout:
        first = process.stdout.read(1)
        first_seconds = time.perf_counter() - started
        while process.stdout.read(4096):
            pass
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not first:
        raise SystemExit(f"{' '.join(command)} failed ({process.returncode})")
    return first_seconds, time.perf_counter() - started, usage.ru_maxrss * 1024


def main() -> int:
    """Measure, print, write the JSON."""
    arguments = _parse()
    model = Catalog().obtain(arguments.model)
    head = results.begin()
    measure_once(model, arguments.threads)  # fills the file cache
    runs = [measure_once(model, arguments.threads) for _ in range(arguments.runs)]
    first = [run[0] for run in runs]
    size_bytes = model.stat().st_size
    peak = max(run[2] for run in runs)
    facts = {
        "model": {"file": model.name, "size_bytes": size_bytes},
        "threads": arguments.threads,
        "first_token_seconds": {
            "median": statistics.median(first), "lowest": min(first), "highest": max(first)
        },
        "whole_run_seconds": statistics.median(run[1] for run in runs),
        "peak_rss_bytes": peak,
        "peak_rss_above_file_bytes": peak - size_bytes,
    }  # fmt: skip
    print(
        f"first token after {statistics.median(first):.3f} s (median of {arguments.runs}, "
        f"{min(first):.3f}-{max(first):.3f}); peak memory {peak / 1e6:.1f} MB, "
        f"{(peak - size_bytes) / 1e6:+.1f} MB against the file of {size_bytes / 1e6:.1f} MB"
    )
    written = results.write(head | facts, f"cold-start-{model.stem}", arguments.output)
    print(f"written: {written}")
    return 0


def _parse() -> argparse.Namespace:
    parser = command_line.parser(__doc__, "model", "threads", "output")
    parser.add_argument("--runs", type=int, default=10)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
