"""What drafts cost where they bring nothing: random texts with a draft model and histories, against
the same texts with drafts off.

    python benchmarks/useless_drafts.py [--model smollm2] [--draft FILE] [--batches 1 4 16]

Prompts are random tokens, so what follows is no text that a draft knows. Not at a high temperature:
there the noise decides, which a draft model shares with its target, and its drafts would be right.
Both ways take turns in one process (`pairs.py`).
"""

from __future__ import annotations

import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import command_line
import results
from pairs import in_pairs

from realm.catalog import Catalog
from realm.config import EngineConfig, ModelConfig
from realm.runtime import GenerationResult, RuntimeManager, TenantRuntime

_PROMPT_TOKENS = 32
_TEMPERATURE = 1.0


def measure(
    tenants: list[TenantRuntime], vocabulary: int, tokens: int, rounds: int
) -> dict[str, object]:
    """The figures of one batch size."""

    def run(name: str, number: int) -> float:
        source = random.Random(number)
        prompts = [[source.randrange(vocabulary) for _ in range(_PROMPT_TOKENS)] for _ in tenants]

        def generate(place: int) -> GenerationResult:
            return tenants[place].generate(
                token_ids=prompts[place],
                max_tokens=tokens,
                temperature=_TEMPERATURE,
                top_p=1.0,
                seed=number,
                ignore_eos=True,
                draft_k=0 if name == "plain" else None,
            )

        started = time.perf_counter()
        with ThreadPoolExecutor(len(tenants)) as pool:
            done = list(pool.map(generate, range(len(tenants))))
        seconds = time.perf_counter() - started
        return sum(len(result.token_ids) for result in done) / seconds

    return {"batch": len(tenants)} | in_pairs(("drafted", "plain"), run, rounds)


def main() -> int:
    """Run, print the table, write the JSON."""
    parser = command_line.parser(__doc__, "model", "threads", "output")
    parser.add_argument("--draft", type=Path, help="a draft model's file; none when left out")
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--tokens", type=int, default=96, help="of each sequence in a slice")
    arguments = parser.parse_args()
    path = Catalog().obtain(arguments.model)
    document = results.begin(model=path.name)
    rows = []
    with RuntimeManager(EngineConfig(threads=arguments.threads)) as manager:
        configuration = ModelConfig(path, "model", arguments.draft)
        for batch in arguments.batches:
            tenants = [
                manager.get_or_create_runtime_with_model(f"tenant-{number}", configuration)
                for number in range(batch)
            ]
            vocabulary = manager.models["model"].hyperparameters.vocabulary_size
            row = measure(tenants, vocabulary, arguments.tokens, arguments.rounds)
            counts = [each.speculation for each in manager.metrics().values()]
            row["drafted"] = sum(each.drafted for each in counts)
            row["accepted"] = sum(each.accepted for each in counts)
            rows.append(row)
            print(
                f"{batch:3} sequences: drafted {row['drafted_tokens_per_second']} tok/s, plain "
                f"{row['plain_tokens_per_second']} tok/s, ratio {row['ratio']} "
                f"{row['ratio_interval_90']}; {row['drafted']} drafted, {row['accepted']} right",
                flush=True,
            )
    document |= {
        "threads": arguments.threads,
        "tokens": arguments.tokens,
        "draft": None if arguments.draft is None else arguments.draft.name,
        "batches": rows,
    }
    print(f"written: {results.write(document, 'useless-drafts', arguments.output)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
