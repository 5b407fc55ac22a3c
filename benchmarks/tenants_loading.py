"""Adapters that come while others work: how long until usable, and what it costs those who decode.

    python benchmarks/tenants_loading.py [--model NAME|PATH] [--threads 2] [--rank 16]

First, tenants decode, each with its adapter, and further adapters are loaded one after another: the
time of each load, and how much longer steps beside one take than those around them.
Then many adapters are registered with memory for few, and requests come at random times, each
naming one at random: how long those waited whose adapter was not in memory. Prints and writes JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

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

PAUSE_SECONDS = 0.1  # between loads: steps to compare with
START_SECONDS = 0.5  # until all prompts are read
NEIGHBOURS = 12  # calls that one is compared with
PROMPT_TOKENS = 32
SESSION_TOKENS = 400  # longer than a round takes


class Gap(NamedTuple):
    """From the end of one native call to that of the next. steps: that the latter computed."""

    begin: float
    end: float
    steps: int

    @property
    def seconds_a_step(self) -> float:
        """The mean of its steps."""
        return (self.end - self.begin) / self.steps


@dataclass(slots=True)
class StepClock:
    """When each native call ended; what lies between two ends is its steps and all that held them
    up."""

    ends: list[tuple[float, int]] = field(default_factory=list)

    def watch(self, runtime: RuntimeManager) -> None:
        """From now on; the runtime must not be shared."""
        engine = runtime._engine  # its steps are not for users
        step = engine.step

        def timed() -> Any:
            outputs = step()
            self.ends.append((time.perf_counter(), engine.step_count))
            return outputs

        engine.step = timed  # type: ignore[method-assign]

    def gaps(self) -> list[Gap]:
        """Of every call but the first."""
        return [
            Gap(begin, end, after - before)
            for (begin, before), (end, after) in itertools.pairwise(self.ends)
        ]


class Round(NamedTuple):
    """Loads, and the native calls meanwhile. lent: the most that one step did for them."""

    loads: list[tuple[float, float]]
    gaps: list[Gap]
    lent: float

    def delays(self) -> tuple[list[float], list[float]]:
        """By how many seconds each step of a call took longer than those of the calls around it:
        of calls beside a load, and of the others."""
        found: tuple[list[float], list[float]] = [], []
        alone = [gap for gap in self.gaps if not self._meets(gap)]
        for gap in self.gaps:
            others = sorted(alone, key=lambda other: abs(other.end - gap.end))
            near = [other.seconds_a_step for other in others if other is not gap][:NEIGHBOURS]
            delay = gap.seconds_a_step - statistics.median(near)
            found[0 if self._meets(gap) else 1].append(delay)
        return found

    def _meets(self, gap: Gap) -> bool:
        return any(gap.begin < end and gap.end > begin for begin, end in self.loads)


def delays(rounds: Sequence[Round]) -> dict[str, float]:
    """Of all rounds, in seconds."""
    found = [each.delays() for each in rounds]
    gaps = [gap for each in rounds for gap in each.gaps]
    return {
        "median_step_seconds": statistics.median(gap.seconds_a_step for gap in gaps),
        **_named("beside_a_load", [delay for beside, _ in found for delay in beside]),
        **_named("alone", [delay for _, alone in found for delay in alone]),
    }


def _named(name: str, found: Sequence[float]) -> dict[str, float]:
    return {
        f"calls_{name}": len(found),
        f"median_delay_{name}_seconds": statistics.median(found),
        f"p75_delay_{name}_seconds": percentile(found, 0.75),
        f"p90_delay_{name}_seconds": percentile(found, 0.9),
        f"largest_delay_{name}_seconds": max(found),
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share * 1000) // 1000) - 1)]


def load_beside_decoding(arguments: argparse.Namespace, path: Path, folder: Path) -> dict[str, Any]:
    """Rounds in which all tenants decode while adapters are loaded. The first round's loads take
    memory that the process has not used before, the others' that of adapters which they push out.
    """
    base = read_adapter_base(path)
    fresh = arguments.spare + 1  # an adapter is packed before another one goes
    counts = [fresh] + [arguments.loads] * arguments.rounds
    files = [
        write_random_adapter(folder / f"{n}.gguf", base, arguments.rank, n)
        for n in range(arguments.tenants + sum(counts))
    ]
    budget = len(files) * packed_bytes(base, arguments.rank)
    rounds: list[Round] = []
    with RuntimeManager(EngineConfig(threads=arguments.threads, adapter_bytes=budget)) as runtime:
        tenants, workload = tenants_of(runtime, path, arguments.tenants)
        for number, tenant in enumerate(tenants):
            runtime.lora.load(f"own-{number}", files.pop())
            runtime.set_tenant_lora_adapter(tenant.tenant_id, f"own-{number}")
        own_bytes = runtime.lora.resident_bytes // arguments.tenants
        runtime.lora.resize((arguments.tenants + arguments.spare) * own_bytes)
        clock = StepClock()
        clock.watch(runtime)
        with ThreadPoolExecutor(len(tenants)) as clients:
            for count in counts:
                sessions = [
                    clients.submit(
                        tenant.generate, token_ids=workload.prompt(number), temperature=0.0,
                        max_tokens=SESSION_TOKENS, ignore_eos=True, draft_k=0,
                    )
                    for number, tenant in enumerate(tenants)
                ]  # fmt: skip
                time.sleep(START_SECONDS)
                clock.ends.clear()
                loads = load_each(runtime, [files.pop() for _ in range(count)])
                lent = runtime._storage.side_work.take_most_lent_seconds()
                rounds.append(Round(loads, clock.gaps(), lent))
                for session in sessions:
                    session.result()
    first, later = rounds[:1], rounds[1:]
    return {
        "load_seconds": spread(later),
        "steps": delays(later),
        "most_lent_by_a_step_seconds": max(each.lent for each in later),
        "load_seconds_into_new_memory": spread(first),
        "steps_beside_loads_into_new_memory": delays(first),
    }


def load_each(runtime: RuntimeManager, files: Sequence[Path]) -> list[tuple[float, float]]:
    """Begin and end of every load, a pause before each."""
    spans = []
    for file in files:
        time.sleep(PAUSE_SECONDS)
        begin = time.perf_counter()
        runtime.lora.load(file.stem, file)
        spans.append((begin, time.perf_counter()))
    time.sleep(PAUSE_SECONDS)
    return spans


def spread(rounds: Sequence[Round]) -> dict[str, float]:
    """How long the loads took."""
    seconds = [end - begin for each in rounds for begin, end in each.loads]
    return {
        "median": statistics.median(seconds),
        "p90": percentile(seconds, 0.9),
        "longest": max(seconds),
    }


def more_than_fit(arguments: argparse.Namespace, path: Path, folder: Path) -> dict[str, Any]:
    """Requests at random times, each with one of the registered adapters."""
    base = read_adapter_base(path)
    draw = random.Random(1)
    waits: list[float] = []
    failures: list[str] = []
    with RuntimeManager(EngineConfig(threads=arguments.threads)) as runtime:
        for number in range(arguments.registered):
            file = write_random_adapter(folder / f"r{number}.gguf", base, arguments.rank, number)
            runtime.lora.load(f"r{number}", file)  # with no base yet it is only looked for
        tenants, workload = tenants_of(runtime, path, arguments.tenants)
        tenants[0].generate(token_ids=workload.prompt(0), max_tokens=1, adapters="r0")
        budget = arguments.resident * runtime.lora.resident_bytes
        runtime.lora.resize(budget)
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
    parser.add_argument("--loads", type=int, default=15, help="of a round, while tenants decode")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument(
        "--spare", type=int, default=4, help="adapters that there is room for besides"
    )
    parser.add_argument("--registered", type=int, default=1000)
    parser.add_argument("--resident", type=int, default=32, help="how many there is memory for")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--rate", type=float, default=4.0, help="requests a second, at random")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
