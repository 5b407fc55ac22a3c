"""`realm bench speculative`: real texts with and without drafts, in turns."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from realm.cli.arguments import (
    add_engine_arguments,
    add_json_argument,
    add_model_arguments,
    whole_number,
)
from realm.cli.context import Context
from realm.cli.draft_counts import by_source
from realm.cli.model_file import find_model_file
from realm.cli.presentation import format_rows, print_json
from realm.cli.workload_texts import WORKLOADS, prompts
from realm.config import EngineConfig, ModelConfig, SpeculativeConfig
from realm.errors import ConfigError, RealmError

if TYPE_CHECKING:
    from realm.engine import SpeculationMetrics
    from realm.runtime import RuntimeManager

SUMMARY = "tokens a second on real texts, with drafts and without"


class TextChangedError(RealmError):
    """A text with drafts is not the one without."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One round over every prompt. seconds: while at least one sequence decoded."""

    texts: tuple[tuple[int, ...], ...]
    tokens: int
    seconds: float
    metrics: SpeculationMetrics

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds


def configure(phase: argparse.ArgumentParser) -> None:
    """The arguments of this phase."""
    add_model_arguments(phase)
    positive = whole_number(1)
    phase.add_argument("--draft", type=Path, metavar="D", help="a draft model's GGUF file")
    phase.add_argument("--workload", choices=WORKLOADS, default="extract")
    phase.add_argument("--batch", type=positive, default=1, metavar="B", help="requests at once")
    phase.add_argument("--prompts", type=positive, metavar="N", help="only the first N")
    phase.add_argument("--tokens", type=positive, default=160, metavar="N", help="at most (160)")
    phase.add_argument("--temperature", type=float, default=0.0, metavar="T")
    phase.add_argument("--draft-k", type=positive, metavar="K", help="most drafted tokens")
    phase.add_argument("--no-texts", action="store_true", help="drafts of the model alone")
    phase.add_argument("--repeats", type=positive, default=3, metavar="N")
    phase.add_argument("--direct", action="store_true", help="leave the tenants' WASM programs out")
    add_engine_arguments(phase)
    add_json_argument(phase)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Measure, print; see `realm.cli.main.Command`.

    Raises TextChangedError when a draft changed a text.
    """
    path = find_model_file(arguments, context)
    config = SpeculativeConfig()
    if arguments.no_texts:
        config = SpeculativeConfig(suffix=False, history_tokens=0)
    engine = EngineConfig(threads=arguments.threads, speculation=config)
    model = ModelConfig(path, "model", arguments.draft, arguments.draft and "draft")
    texts = list(enumerate(each.text for each in prompts(arguments.workload)[: arguments.prompts]))
    # One at a time, both ways take turns at every prompt, so that a machine's moods meet both.
    parts = [[each] for each in texts] if arguments.batch == 1 else [texts]
    plain: list[_Run] = []
    drafted: list[_Run] = []
    with context.open_runtime(engine) as runtime:
        bench = _Bench(runtime, model, arguments)
        for part in parts:
            bench.answer("warm-up", part, 0)
        for number in range(arguments.repeats):
            names = (f"plain-{number}", f"drafted-{number}")
            answers: dict[str, list[_Answers]] = {name: [] for name in names}
            for turn, part in enumerate(parts):
                for name in names if (number + turn) % 2 == 0 else names[::-1]:
                    draft_k = 0 if name == names[0] else arguments.draft_k
                    answers[name].append(bench.answer(name, part, draft_k))
            plain.append(bench.run(names[0], answers[names[0]]))
            drafted.append(bench.run(names[1], answers[names[1]]))
    for one, other in zip(plain, drafted, strict=True):
        if one.texts != other.texts:
            raise TextChangedError("a draft changed a text")
    document = _document(arguments, plain, drafted) | {
        "threads": engine.thread_count,
        "instruction_set": context.instruction_set(),
        "model": str(path),
        "draft": None if arguments.draft is None else str(arguments.draft),
    }
    if arguments.json:
        print_json(document, context.stdout)
    else:
        context.stdout.write(format_rows(_rows(document)))
    return 0


class _Answers(NamedTuple):
    """To prompts at once. seconds: while at least one sequence decoded."""

    texts: tuple[tuple[int, ...], ...]
    seconds: float


class _Bench:
    """Tenants that answer prompts, each without a history in the beginning."""

    def __init__(
        self, runtime: RuntimeManager, model: ModelConfig, arguments: argparse.Namespace
    ) -> None:
        self._runtime = runtime
        self._model = model
        self._arguments = arguments

    def answer(
        self, tenant_id: str, texts: Sequence[tuple[int, str]], draft_k: int | None
    ) -> _Answers:
        """The tenant's answers to these prompts, so many at once as were asked for.

        texts: each with its seed."""
        tenant = self._runtime.get_or_create_runtime_with_model(tenant_id, self._model)
        arguments = self._arguments

        def generate(seed: int, text: str) -> tuple[tuple[int, ...], float, float]:
            submitted = time.perf_counter()
            result = tenant.generate(
                messages=[{"role": "user", "content": text}],
                max_tokens=arguments.tokens,
                temperature=arguments.temperature,
                seed=seed,
                draft_k=draft_k,
                direct=arguments.direct,
            )
            first = submitted + result.timings.first_token_seconds
            return result.token_ids, first, first + result.timings.decode_seconds

        with ThreadPoolExecutor(arguments.batch) as clients:
            answers = list(clients.map(generate, *zip(*texts, strict=True)))
        seconds = _covered_seconds([(begin, end) for _, begin, end in answers])
        return _Answers(tuple(ids for ids, _, _ in answers), seconds)

    def run(self, tenant_id: str, answers: Sequence[_Answers]) -> _Run:
        """The round that these are of."""
        texts = tuple(ids for each in answers for ids in each.texts)
        seconds = sum(each.seconds for each in answers)
        if seconds <= 0.0:
            raise ConfigError("the run was too short to be timed: raise --tokens")
        tokens = sum(max(0, len(ids) - 1) for ids in texts)
        return _Run(texts, tokens, seconds, self._runtime.metrics()[tenant_id].speculation)


def _covered_seconds(spans: Sequence[tuple[float, float]]) -> float:
    """How long at least one of the spans (begin, end) was going on."""
    seconds, until = 0.0, 0.0
    for begin, end in sorted(spans):
        seconds += max(0.0, end - max(begin, until))
        until = max(until, end)
    return seconds


def _document(
    arguments: argparse.Namespace, plain: Sequence[_Run], drafted: Sequence[_Run]
) -> dict[str, Any]:
    gains = [
        other.tokens_per_second / one.tokens_per_second
        for one, other in zip(plain, drafted, strict=True)
    ]
    metrics = drafted[-1].metrics
    return {
        "phase": "speculative",
        "workload": arguments.workload,
        "batch": arguments.batch,
        "temperature": arguments.temperature,
        "tokens": plain[0].tokens,
        "tokens_per_second": statistics.median(each.tokens_per_second for each in drafted),
        "plain_tokens_per_second": statistics.median(each.tokens_per_second for each in plain),
        "gain": statistics.median(gains),
        "gains": gains,
        "drafted": metrics.drafted,
        "accepted": metrics.accepted,
        "accepted_length": metrics.total.accepted_length,
        "by_source": by_source(metrics),
    }


def _rows(document: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("plain", f"{document['plain_tokens_per_second']:,.1f} tok/s"),
        ("drafted", f"{document['tokens_per_second']:,.1f} tok/s"),
        ("gain", "  ".join(f"{each:.2f}" for each in document["gains"])),
        ("accepted", f"{document['accepted']:,} of {document['drafted']:,} drafted tokens"),
    ]
    for source, counts in document["by_source"].items():
        rows.append((source, f"{counts['accepted_length']:.2f} tokens accepted of a draft"))
    return rows
