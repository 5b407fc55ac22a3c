"""How many tokens drafts from the text itself would have had accepted: plain decoding, replayed.

    python benchmarks/suffix_oracle.py [--workload extract edit code json chat] [--model NAME|PATH]

Each prompt of `texts` is answered by plain greedy decoding. Then the answers are gone through
again with the engine's own parts (`realm.engine.speculation`): propose, choose by survival and
cost, compare with the answer. No draft changes a text, so this counts exactly what verification
would. The gain is an estimate: seconds of steps by rows, as they were measured at start or by
curves.py, nothing else. A small model often ends in a loop, which drafts follow for nothing:
--cut-loops takes such ends away. Prints a table; --record keeps the answers, --replay takes them
instead of decoding.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import command_line
import numpy as np
import results

from realm.catalog import Catalog
from realm.cli.draft_counts import by_source
from realm.cli.workload_texts import WORKLOADS, prompts
from realm.config import EngineConfig, ModelConfig, SpeculativeConfig
from realm.engine.speculation import (
    MEASURED_ROWS,
    DraftCandidate,
    DraftLimits,
    RowCost,
    SequenceSpeculation,
    SpeculationMetrics,
    TenantSpeculation,
    plan_drafts,
)
from realm.kernels import PAGE_TOKENS, CachePool, Team
from realm.model import ModelStorage, StoredModel
from realm.runtime import RuntimeManager

_CONTEXT = 512
_REPEATS = 9


def record(path: Path, workloads: Sequence[str], tokens: int, threads: int) -> list[dict[str, Any]]:
    """Plain greedy answers to every prompt: workload, name, prompt and output token ids."""
    configuration = ModelConfig(path)
    answers = []
    with RuntimeManager(EngineConfig(threads=threads)) as runtime:
        tenant = runtime.get_or_create_runtime_with_model("plain", configuration)
        for prompt in (each for workload in workloads for each in prompts(workload)):
            message = {"role": "user", "content": prompt.text}
            result = tenant.generate(messages=[message], temperature=0.0, max_tokens=tokens)
            answers.append(
                {
                    "workload": prompt.workload,
                    "name": prompt.name,
                    "prompt": list(result.prompt_token_ids),
                    "output": list(result.token_ids),
                }
            )
    return answers


def measure_rows(model: StoredModel, threads: int) -> dict[int, float]:
    """Seconds of a verification step by its rows: one sequence, logits of every row; medians."""
    native, team = model.native, Team(threads)
    pages = (_CONTEXT + MEASURED_ROWS[-1]) // PAGE_TOKENS + 1
    pool, table = CachePool(native, pages), np.arange(pages, dtype=np.int32).reshape(1, pages)
    times: dict[int, list[float]] = {rows: [] for rows in MEASURED_ROWS}
    for _ in range(_REPEATS + 1):
        for rows in MEASURED_ROWS:
            begin = time.perf_counter()
            native.step(
                pool,
                team,
                tokens=np.arange(100, 100 + rows, dtype=np.int32),
                page_table=table,
                segments=np.array([[0, _CONTEXT, rows]], np.int32),
                layer_begin=0,
                layer_end=model.hyperparameters.layer_count,
                logit_rows=np.arange(rows, dtype=np.int32),
            )
            times[rows].append(time.perf_counter() - begin)
    return {rows: statistics.median(each[1:]) for rows, each in times.items()}


def read_rows(path: Path) -> dict[int, float]:
    """Seconds of a step by its rows from a result of curves.py: one row of each sequence."""
    sequences = json.loads(path.read_text(encoding="utf-8"))["curves"]["sequences"]
    return {int(rows): int(rows) / each["tokens_per_second"] for rows, each in sequences.items()}


def replay(
    answers: Iterable[dict[str, Any]],
    config: SpeculativeConfig,
    measured: dict[int, float],
    fixed: int | None = None,
) -> tuple[int, float, SpeculationMetrics]:
    """One tenant's answers, one after the other: steps, seconds by `measured`, what became of it.

    fixed: verify so many tokens whenever there are as many, rather than choosing.
    """
    tenant, cost = TenantSpeculation(config), RowCost(measured)
    limits = DraftLimits(config.max_draft_tokens)
    steps, seconds = 0, 0.0
    for answer in answers:
        speculation, output = SequenceSpeculation(tenant), answer["output"]
        tokens, at = list(answer["prompt"]), 0
        while at < len(output):
            draft = speculation.propose(tokens, len(output) - at - 1)
            verified = accepted = 0
            if draft is not None:
                candidate = DraftCandidate(0, speculation.survivals(draft))
                plan = plan_drafts([candidate], cost.seconds, limits, decode_rows=1)
                verified = plan.get(0, 0) if fixed is None else min(fixed, len(draft))
                right = 0
                while right < verified and draft.token_ids[right] == output[at + right]:
                    right += 1
                taken = output[at : at + right + 1]
                accepted = speculation.settle(draft, verified, taken)
            tokens += output[at : at + accepted + 1]
            at += accepted + 1
            steps += 1
            seconds += cost.seconds(1 + verified)
        tenant.history.add(output, lead=answer["prompt"])
    return steps, seconds, tenant.metrics


def loop_begin(output: Sequence[int]) -> int:
    """Where an answer begins to repeat itself until its end: its length when it does not.

    A loop is what stands there three times or more; the first time does not count to it.
    """
    begin = len(output)
    for period in range(1, len(output) // 3 + 1):
        same = 0
        while same + period < len(output) and output[-1 - same] == output[-1 - same - period]:
            same += 1
        if same >= 2 * period:
            begin = min(begin, len(output) - same)
    return begin


def summary(
    answers: list[dict[str, Any]],
    config: SpeculativeConfig,
    measured: dict[int, float],
    fixed: int | None,
) -> dict[str, Any]:
    """What `replay` gives for one workload, as a row of the table."""
    steps, seconds, metrics = replay(answers, config, measured, fixed)
    tokens = sum(len(each["output"]) for each in answers)
    return {
        "prompts": len(answers),
        "tokens": tokens,
        "tokens_in_loops": sum(
            len(each["output"]) - loop_begin(each["output"]) for each in answers
        ),
        "tokens_per_step": tokens / max(steps, 1),
        "drafted": metrics.drafted,
        "accepted": metrics.accepted,
        "accepted_length": metrics.total.accepted_length,
        "by_source": by_source(metrics),
        "estimated_gain": tokens * RowCost(measured).seconds(1) / max(seconds, 1e-9),
    }


def read_answers(arguments: argparse.Namespace, path: Path) -> list[dict[str, Any]]:
    """What --replay names, or recorded now (and kept for --record), cut for --cut-loops."""
    if arguments.replay:
        answers = json.loads(arguments.replay.read_text(encoding="utf-8"))
    else:
        answers = record(path, arguments.workload, arguments.tokens, arguments.threads)
    if arguments.record:
        arguments.record.write_text(json.dumps(answers), encoding="utf-8")
    if arguments.cut_loops:
        for answer in answers:
            del answer["output"][loop_begin(answer["output"]) :]
    return answers


def main() -> int:
    """Decode or read the answers, replay them, print, write."""
    arguments = _parse()
    head = results.begin()
    path = Catalog().obtain(arguments.model)
    if arguments.curves:
        measured = read_rows(arguments.curves)
    else:
        measured = measure_rows(ModelStorage(arguments.threads).load(path), arguments.threads)
    answers = read_answers(arguments, path)
    config = SpeculativeConfig(
        draft_k=arguments.draft_k, history_tokens=0 if arguments.no_history else 16384
    )
    rows = {}
    for workload in arguments.workload:
        chosen = [each for each in answers if each["workload"] == workload]
        rows[workload] = summary(chosen, config, measured, arguments.fixed)
        print(_line(workload, rows[workload]))
    document = head | {
        "model": path.name,
        "threads": arguments.threads,
        "draft_k": arguments.draft_k,
        "fixed": arguments.fixed,
        "history": not arguments.no_history,
        "cut_loops": arguments.cut_loops,
        "row_seconds": measured,
        "workloads": rows,
    }
    print(f"written: {results.write(document, 'suffix-oracle', arguments.output)}")
    return 0


def _line(workload: str, row: dict[str, Any]) -> str:
    return (
        f"{workload:8} {row['tokens']:6,} tokens ({row['tokens_in_loops']:5,} in loops)  "
        f"{row['tokens_per_step']:5.2f} a step  "
        f"{row['accepted']:6,} of {row['drafted']:6,} accepted  "
        f"{row['accepted_length']:5.2f} a draft  gain {row['estimated_gain']:4.2f}"
    )


def _parse() -> argparse.Namespace:
    parser = command_line.parser(__doc__, "model", "threads", "output")
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--tokens", type=int, default=400, help="most tokens of an answer")
    parser.add_argument("--draft-k", type=int, default=15)
    parser.add_argument("--fixed", type=int, help="draft so many tokens in every step")
    parser.add_argument("--no-history", action="store_true", help="draft from each text alone")
    parser.add_argument("--cut-loops", action="store_true", help="without loops at the end")
    parser.add_argument("--record", type=Path, help="write the answers here")
    parser.add_argument("--replay", type=Path, help="read the answers from here")
    parser.add_argument("--curves", type=Path, help="seconds by rows from this result of curves.py")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
