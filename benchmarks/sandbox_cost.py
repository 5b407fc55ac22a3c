"""What the sandbox costs: decoding through tenants' programs against decoding without them.

    python benchmarks/sandbox_cost.py [--model smollm2] [--batches 1 16] [--rounds 60]

Both ways take turns in one process, a short slice each, and the first of a pair changes: what else
the machine does meets both alike. The figure is the median of the pairs' ratios, with the interval
in which that median lies in 90 % of resampled rounds (bootstrap).
"""

from __future__ import annotations

import random
import statistics
import sys
from dataclasses import replace

import command_line
import results

from realm.catalog import Catalog
from realm.cli.measurement import Workload, measure_batch, measure_decode, workload_text
from realm.config import EngineConfig, ModelConfig
from realm.runtime import RuntimeManager, TenantRuntime

_PROMPT_TOKENS = 32
_RESAMPLES = 2000


def measure(
    tenants: list[TenantRuntime], workload: Workload, rounds: int, first_number: int
) -> dict[str, object]:
    """The figures of one batch size."""
    guest_rates, direct_rates, ratios = [], [], []
    for number in range(rounds + 1):
        rates = {}
        for place, direct in enumerate((False, True) if number % 2 else (True, False)):
            each = replace(workload, direct=direct)
            prompts = first_number + number * 2 + place
            if len(tenants) == 1:
                speed = measure_decode(tenants[0], each, prompts)
            else:
                speed = measure_batch(tenants, each, prompts)
            rates[direct] = speed.tokens_per_second
        if number:  # the first pair warms up
            guest_rates.append(rates[False])
            direct_rates.append(rates[True])
            ratios.append(rates[False] / rates[True])
    low, high = _interval(ratios)
    return {
        "batch": len(tenants),
        "rounds": rounds,
        "guest_tokens_per_second": round(statistics.median(guest_rates), 1),
        "direct_tokens_per_second": round(statistics.median(direct_rates), 1),
        "ratio": round(statistics.median(ratios), 4),
        "ratio_interval_90": [round(low, 4), round(high, 4)],
        "ratios": [round(ratio, 4) for ratio in ratios],
    }


def _interval(values: list[float]) -> tuple[float, float]:
    source = random.Random(0)
    medians = sorted(
        statistics.median(source.choices(values, k=len(values))) for _ in range(_RESAMPLES)
    )
    return medians[_RESAMPLES // 20], medians[-_RESAMPLES // 20]


def main() -> int:
    """Run, print the table, write the JSON."""
    parser = command_line.parser(__doc__, "model", "threads", "output")
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 16])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--tokens", type=int, default=48, help="of each sequence in a slice")
    arguments = parser.parse_args()
    path = Catalog().obtain(arguments.model)
    document = results.begin(model=path.name)
    rows = []
    with RuntimeManager(EngineConfig(threads=arguments.threads)) as manager:
        configuration = ModelConfig(path)
        for batch in arguments.batches:
            tenants = [
                manager.get_or_create_runtime_with_model(f"tenant-{number}", configuration)
                for number in range(batch)
            ]
            tokenizer = manager.models[configuration.name].tokenizer
            text_ids = tuple(tokenizer.encode(workload_text(), add_special=False))
            workload = Workload(text_ids, _PROMPT_TOKENS, arguments.tokens, direct=False)
            row = measure(tenants, workload, arguments.rounds, batch * 1000)
            rows.append(row)
            print(
                f"{batch:3} sequences: guest {row['guest_tokens_per_second']} tok/s, direct "
                f"{row['direct_tokens_per_second']} tok/s, ratio {row['ratio']} "
                f"{row['ratio_interval_90']}",
                flush=True,
            )
    document |= {"threads": arguments.threads, "tokens": arguments.tokens, "batches": rows}
    print(f"written: {results.write(document, 'sandbox-cost', arguments.output)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
