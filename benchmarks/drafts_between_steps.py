"""What drafts bring with and without drafts between the steps of one call, beside no drafts at all.

    python benchmarks/drafts_between_steps.py [--workload chat] [--batch 1] [--rounds 4]
        [--joined-seconds 0.06]

The prompts are those of `realm bench speculative`. The three ways take turns at every prompt (at
all prompts together where several run at once), so that a machine's moods meet all of them.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import command_line
import results

from realm.catalog import Catalog
from realm.cli.workload_texts import WORKLOADS, prompts
from realm.config import EngineConfig, ModelConfig
from realm.engine import model_step
from realm.runtime import RuntimeManager, TenantRuntime

PLAIN, ALONE, BETWEEN = WAYS = ("plain", "each step alone", "between steps")
DRAFT = Path(__file__).parents[1] / "drafts" / "smollm2-135m-instruct.gguf"


@contextmanager
def way_of(name: str) -> Iterator[None]:
    """Within, drafts are made between steps, or each step with drafts is a call of its own."""
    plan = model_step.plan_drafted_steps
    if name != BETWEEN:
        model_step.plan_drafted_steps = lambda *_: None
    try:
        yield
    finally:
        model_step.plan_drafted_steps = plan


def decode(tenant: TenantRuntime, texts: list[str], name: str, tokens: int) -> tuple[list, float]:
    """The answers to these prompts at once, and the seconds while one of them was decoded."""

    def generate(number: int) -> tuple[tuple[int, ...], float, float]:
        submitted = time.perf_counter()
        result = tenant.generate(
            messages=[{"role": "user", "content": texts[number]}],
            max_tokens=tokens,
            temperature=0.0,
            draft_k=0 if name == PLAIN else None,
        )
        first = submitted + result.timings.first_token_seconds
        return result.token_ids, first, first + result.timings.decode_seconds

    with way_of(name), ThreadPoolExecutor(len(texts)) as clients:
        answers = list(clients.map(generate, range(len(texts))))
    begin, end = min(each[1] for each in answers), max(each[2] for each in answers)
    return [each[0] for each in answers], end - begin


def gains(seconds: dict[str, list[list[float]]], best: Callable[[list[float]], float]) -> dict:
    """Tokens a second over plain, of one figure for each prompt."""
    sums = {name: sum(map(best, each)) for name, each in seconds.items()}
    return {name: round(sums[PLAIN] / each, 3) for name, each in sums.items()}


def main() -> int:
    """Run, print, write the JSON; 1 when an answer differs."""
    parser = command_line.parser(__doc__, "model", "threads", "output")
    parser.add_argument("--draft", type=Path, default=DRAFT)
    parser.add_argument("--workload", choices=WORKLOADS, default="chat")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=160)
    parser.add_argument("--joined-seconds", type=float, default=EngineConfig.joined_seconds)
    arguments = parser.parse_args()
    path = Catalog().obtain(arguments.model)
    texts = [each.text for each in prompts(arguments.workload)]
    parts = [texts[i : i + arguments.batch] for i in range(0, len(texts), arguments.batch)]
    seconds: dict[str, list[list[float]]] = {name: [[] for _ in parts] for name in WAYS}
    engine = EngineConfig(threads=arguments.threads, joined_seconds=arguments.joined_seconds)
    with RuntimeManager(engine) as manager:
        model = ModelConfig(path, "model", arguments.draft, "draft")
        for turn in range(arguments.rounds):
            tenants = {
                name: manager.get_or_create_runtime_with_model(f"{name} {turn}", model)
                for name in WAYS
            }
            for number, part in enumerate(parts):
                shift = (turn + number) % len(WAYS)
                found = {}
                for name in WAYS[shift:] + WAYS[:shift]:
                    found[name], taken = decode(tenants[name], part, name, arguments.tokens)
                    seconds[name][number].append(round(taken, 4))
                if any(each != found[PLAIN] for each in found.values()):
                    print("an answer differs")
                    return 1
    medians, shortest = gains(seconds, statistics.median), gains(seconds, min)
    print(f"over plain, of the medians {medians}, of the shortest {shortest}")
    document = results.begin(model=path.name) | {
        "draft": arguments.draft.name,
        "threads": arguments.threads,
        "workload": arguments.workload,
        "batch": arguments.batch,
        "joined_seconds": engine.joined_seconds,
        "gains_of_medians": medians,
        "gains_of_shortest": shortest,
        "seconds": seconds,
    }
    print(f"written: {results.write(document, 'drafts-between-steps', arguments.output)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
