"""What the sandbox costs: decoding through tenants' programs against decoding without them.

    python benchmarks/sandbox_cost.py [--model smollm2] [--batches 1 16] [--rounds 60]

Both ways take turns in one process (`pairs.py`).
"""

from __future__ import annotations

import sys
from dataclasses import replace

import command_line
import results
from pairs import in_pairs

from realm.catalog import Catalog
from realm.cli.measurement import Workload, measure_batch, measure_decode, workload_text
from realm.config import EngineConfig, ModelConfig
from realm.runtime import RuntimeManager, TenantRuntime

_PROMPT_TOKENS = 32


def measure(tenants: list[TenantRuntime], workload: Workload, rounds: int) -> dict[str, object]:
    """The figures of one batch size."""

    def run(name: str, number: int) -> float:
        each = replace(workload, direct=name == "direct")
        prompts = len(tenants) * 1000 + number
        if len(tenants) == 1:
            return measure_decode(tenants[0], each, prompts).tokens_per_second
        return measure_batch(tenants, each, prompts).tokens_per_second

    return {"batch": len(tenants)} | in_pairs(("guest", "direct"), run, rounds)


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
            row = measure(tenants, workload, arguments.rounds)
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
