"""Adapters that come while others work: how long until usable, and what it costs those who decode.

    python benchmarks/tenants_loading.py [--model NAME|PATH] [--threads 2] [--rank 16]

First, tenants decode, each with its adapter, and further adapters are loaded one after another: the
time of each load, and the largest delay of a step while one ran against the median of the others.
Then many adapters are registered with memory for few, and requests come at random times, each
naming one at random: how long those waited whose adapter was not in memory. Prints and writes JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import command_line
import results

from realm.catalog import Catalog
from realm.cli.adapter_base import read_adapter_base
from realm.cli.bench_phase import open_tenants
from realm.cli.measurement import Workload, workload_text
from realm.cli.random_adapters import packed_bytes, write_random_adapter
from realm.config import EngineConfig
from realm.errors import RealmError
from realm.lora import AdapterUse
from realm.runtime import RuntimeManager, TenantRuntime

PAUSE_SECONDS = 0.3  # between loads: steps to compare with
PROMPT_TOKENS = 32


@dataclass(slots=True)
class StepClock:
    """When each step ended; what lies between two ends is a step and all that held it up."""

    ends: list[float] = field(default_factory=list)

    def watch(self, runtime: RuntimeManager) -> None:
        """From now on; the runtime must not be shared."""
        engine = runtime._engine  # its steps are not for users
        step = engine.step

        def timed() -> Any:
            outputs = step()
            self.ends.append(time.perf_counter())
            return outputs

        engine.step = timed  # type: ignore[method-assign]

    def gaps(self) -> list[tuple[float, float]]:
        """Begin and end of every step but the first."""
        return list(zip(self.ends, self.ends[1:], strict=False))


def delays(
    gaps: Sequence[tuple[float, float]], loads: Sequence[tuple[float, float]]
) -> dict[str, float]:
    """Of steps, in seconds: the median and the longest without a load, the longest beside one."""
    beside, alone = [], []
    for begin, end in gaps:
        meets = any(begin < load_end and end > load_begin for load_begin, load_end in loads)
        (beside if meets else alone).append(end - begin)
    usual = statistics.median(alone)
    return {
        "median_step_seconds": usual,
        "longest_step_alone_seconds": max(alone),
        "p99_step_alone_seconds": percentile(alone, 0.99),
        "longest_step_beside_a_load_seconds": max(beside),
        "p99_step_beside_a_load_seconds": percentile(beside, 0.99),
        "largest_delay_seconds": max(beside) - usual,
        "steps_beside_a_load": len(beside),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share * 1000) // 1000) - 1)]


def load_beside_decoding(arguments: argparse.Namespace, path: Path, folder: Path) -> dict[str, Any]:
    """Tenants decode until every load is done."""
    base = read_adapter_base(path)
    count = arguments.tenants + arguments.loads
    files = [
        write_random_adapter(folder / f"{n}.gguf", base, arguments.rank, n) for n in range(count)
    ]
    budget = count * packed_bytes(base, arguments.rank)
    loads: list[tuple[float, float]] = []
    clock = StepClock()
    with RuntimeManager(EngineConfig(threads=arguments.threads, adapter_bytes=budget)) as runtime:
        tenants, workload = tenants_of(runtime, path, arguments.tenants)
        for number, tenant in enumerate(tenants):
            runtime.lora.load(f"own-{number}", files[number])
            runtime.set_tenant_lora_adapter(tenant.tenant_id, f"own-{number}")
        enough = threading.Event()

        def decode(number: int) -> None:
            turn = number
            while not enough.is_set():
                tenants[number].generate(
                    token_ids=workload.prompt(turn), max_tokens=128, temperature=0.0,
                    ignore_eos=True, draft_k=0,
                )  # fmt: skip
                turn += len(tenants)

        with ThreadPoolExecutor(len(tenants)) as clients:
            running = [clients.submit(decode, number) for number in range(len(tenants))]
            time.sleep(2 * PAUSE_SECONDS)
            clock.watch(runtime)
            for number in range(arguments.loads):
                time.sleep(PAUSE_SECONDS)
                begin = time.perf_counter()
                runtime.lora.load(f"new-{number}", files[len(tenants) + number])
                loads.append((begin, time.perf_counter()))
            time.sleep(PAUSE_SECONDS)
            enough.set()
            for each in running:
                each.result()
    seconds = [end - begin for begin, end in loads]
    return {
        "load_seconds": {"median": statistics.median(seconds), "longest": max(seconds)},
        "steps": delays(clock.gaps(), loads),
    }


def more_than_fit(arguments: argparse.Namespace, path: Path, folder: Path) -> dict[str, Any]:
    """Requests at random times, each with one of the registered adapters."""
    base = read_adapter_base(path)
    budget = arguments.resident * packed_bytes(base, arguments.rank)
    draw = random.Random(1)
    waits: list[float] = []
    failures: list[str] = []
    with RuntimeManager(EngineConfig(threads=arguments.threads, adapter_bytes=budget)) as runtime:
        for number in range(arguments.registered):
            file = write_random_adapter(folder / f"r{number}.gguf", base, arguments.rank, number)
            runtime.lora.load(f"r{number}", file)  # with no base yet it is only looked for
        tenants, workload = tenants_of(runtime, path, arguments.tenants)
        watch_waits(runtime, waits)

        def ask(number: int) -> float:
            begin = time.perf_counter()
            try:
                tenants[number % len(tenants)].generate(
                    token_ids=workload.prompt(number), max_tokens=16, temperature=0.0,
                    ignore_eos=True, draft_k=0, adapters=f"r{draw.randrange(arguments.registered)}",
                )  # fmt: skip
            except RealmError as error:
                failures.append(str(error))
            return time.perf_counter() - begin

        with ThreadPoolExecutor(64) as clients:
            running = []
            for number in range(arguments.requests):
                running.append(clients.submit(ask, number))
                time.sleep(draw.expovariate(arguments.rate))
            seconds = [each.result() for each in running]
        resident = runtime.lora.resident_bytes
    return {
        "registered": arguments.registered,
        "budget_bytes": budget,
        "resident_bytes": resident,
        "requests": arguments.requests,
        "requests_per_second": arguments.rate,
        "cold": len(waits),
        "cold_wait_seconds": {
            "median": statistics.median(waits),
            "p99": percentile(waits, 0.99),
            "longest": max(waits),
        },
        "longest_request_seconds": max(seconds),
        "failures": failures,
    }


def watch_waits(runtime: RuntimeManager, waits: list[float]) -> None:
    """Notes how long each use waits that is not ready when it is made."""
    request = runtime.lora.request

    def timed(name: str, base: str, tenant: str | None = None) -> AdapterUse:
        begin = time.perf_counter()
        use = request(name, base, tenant)
        if not use.ready.done():
            use.ready.add_done_callback(lambda _: waits.append(time.perf_counter() - begin))
        return use

    runtime.lora.request = timed  # type: ignore[method-assign]


def tenants_of(
    runtime: RuntimeManager, path: Path, count: int
) -> tuple[list[TenantRuntime], Workload]:
    """Their runtimes, and prompts that differ."""
    tenants, model = open_tenants(runtime, path, count)
    text_ids = tuple(model.tokenizer.encode(workload_text(), add_special=False))
    return tenants, Workload(text_ids, PROMPT_TOKENS, 128, direct=False)


def main() -> int:
    """Measure, print, write the JSON."""
    arguments = _parse()
    path = Path(Catalog().obtain(arguments.model))
    document = results.begin(
        model=path.name, threads=arguments.threads, rank=arguments.rank, tenants=arguments.tenants
    )
    with tempfile.TemporaryDirectory(prefix="realm-bench-") as folder:
        document["beside_decoding"] = load_beside_decoding(arguments, path, Path(folder))
    with tempfile.TemporaryDirectory(prefix="realm-bench-") as folder:
        document["more_than_fit"] = more_than_fit(arguments, path, Path(folder))
    print(
        json.dumps({key: document[key] for key in ("beside_decoding", "more_than_fit")}, indent=2)
    )
    print(f"written: {results.write(document, f'tenants-loading-{path.stem}', arguments.output)}")
    return 0


def _parse() -> argparse.Namespace:
    parser = command_line.parser(__doc__, "model", "threads", "output")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--tenants", type=int, default=16)
    parser.add_argument("--loads", type=int, default=20, help="while tenants decode")
    parser.add_argument("--registered", type=int, default=1000)
    parser.add_argument("--resident", type=int, default=32, help="how many there is memory for")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--rate", type=float, default=4.0, help="requests a second, at random")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
