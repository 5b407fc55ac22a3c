"""The part of a run that is not spent in the native call: Python, guests, hand-overs of threads.

    python benchmarks/step_share.py [--model NAME|PATH] [--batch 1] [--threads 2] [--direct]

Whole runs of `batch` tenants are timed, prompts and starts of guests in the clock; the engine says
how long its native calls took and how many steps there were. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys

import command_line

from realm.catalog import Catalog
from realm.cli.bench_phase import open_tenants
from realm.cli.measurement import Workload, measure_batch, measure_decode, workload_text
from realm.config import EngineConfig
from realm.runtime import RuntimeManager


def main() -> int:
    """Measure, print."""
    arguments = _parse()
    path = Catalog().obtain(arguments.model)
    shares, outside, whole = [], [], []
    with RuntimeManager(EngineConfig(threads=arguments.threads)) as runtime:
        tenants, model = open_tenants(runtime, path, arguments.batch)
        workload = Workload(
            text_ids=tuple(model.tokenizer.encode(workload_text(), add_special=False)),
            prompt_tokens=64,
            tokens=arguments.tokens,
            direct=arguments.direct,
        )
        engine = runtime._engine  # its counters are not for users
        for number in range(arguments.repeats + 1):
            native, steps = engine.native_seconds, engine.step_count
            if arguments.batch == 1:
                speed = measure_decode(tenants[0], workload, number)
            else:
                speed = measure_batch(tenants, workload, number)
            native, steps = engine.native_seconds - native, engine.step_count - steps
            shares.append(1 - native / speed.all_seconds)
            outside.append((speed.all_seconds - native) / steps)
            whole.append(speed.all_seconds / steps)
    document = {
        "share": statistics.median(shares[1:]),
        "outside_seconds_per_step": statistics.median(outside[1:]),
        "seconds_per_step": statistics.median(whole[1:]),
    }
    print(json.dumps(document))
    return 0


def _parse() -> argparse.Namespace:
    parser = command_line.parser(__doc__, "model", "threads")
    parser.add_argument("--batch", type=int, default=1, help="tenants at once")
    parser.add_argument("--tokens", type=int, default=192, help="of each tenant")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--direct", action="store_true", help="leave the guests out")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
