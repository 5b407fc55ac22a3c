"""`realm bench`: speed on this machine, beside what memory allows, with adapters, with drafts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.cli import speculative_bench, tenant_bench
from realm.cli.arguments import (
    add_cache_precision_argument,
    add_model_arguments,
    whole_number,
)
from realm.cli.bench_phase import (
    add_run_arguments,
    add_tokens_argument,
    machine_document,
    make_workload,
    open_tenants,
    roofline,
    write_report,
)
from realm.cli.context import Context
from realm.cli.measurement import Speed, measure_prefill, measure_tenants, median_speed
from realm.cli.model_file import find_model_file
from realm.cli.process_memory import peak_memory_bytes
from realm.config import EngineConfig

if TYPE_CHECKING:
    from realm.runtime import RuntimeManager

_PHASES = (
    ("decode", "tokens a second after the prompt has been read", 64),
    ("prefill", "tokens a second while the prompt is read", 512),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """See `realm.cli.main.Command`."""
    phases = parser.add_subparsers(dest="phase", required=True, metavar="PHASE")
    for name, summary, prompt_tokens in _PHASES:
        phase = phases.add_parser(name, help=summary, description=summary)
        add_model_arguments(phase)
        if name == "decode":
            add_tokens_argument(phase)
            phase.add_argument(
                "--batch", type=whole_number(1), default=1, metavar="B", help="tenants at once"
            )
        else:
            phase.set_defaults(tokens=1, batch=1)
        add_cache_precision_argument(phase)
        add_run_arguments(phase, prompt_tokens=prompt_tokens)
    summary = tenant_bench.SUMMARY
    tenant_bench.configure(phases.add_parser("tenants", help=summary, description=summary))
    summary = speculative_bench.SUMMARY
    speculative_bench.configure(phases.add_parser("speculative", help=summary, description=summary))


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """See `realm.cli.main.Command`."""
    if arguments.phase == "tenants":
        return tenant_bench.execute(arguments, context)
    if arguments.phase == "speculative":
        return speculative_bench.execute(arguments, context)
    path = find_model_file(arguments, context)
    engine = EngineConfig(threads=arguments.threads, cache_precision=arguments.cache_precision)
    with context.open_runtime(engine) as runtime:
        speeds, bytes_per_step = _measure(runtime, path, arguments)
        peak_rss_bytes = peak_memory_bytes()  # before the probe below takes memory of its own
    bandwidth = context.measure_bandwidth(engine.thread_count)
    document = _document(arguments, speeds, bytes_per_step, bandwidth, engine)
    document |= machine_document(context, engine, path, peak_rss_bytes)
    write_report(document, _rows(document), arguments, context)
    return 0


def _measure(
    runtime: RuntimeManager, path: Path, arguments: argparse.Namespace
) -> tuple[list[Speed], int]:
    tenants, model = open_tenants(runtime, path, arguments.batch)
    workload = make_workload(model, arguments)
    rounds = range(arguments.warm_up + arguments.repeats)
    if arguments.phase == "prefill":
        speeds = [measure_prefill(tenants[0], workload, number) for number in rounds]
    else:
        speeds = [measure_tenants(tenants, workload, number) for number in rounds]
    return speeds[arguments.warm_up :], model.bytes_per_token


def _document(
    arguments: argparse.Namespace,
    speeds: Sequence[Speed],
    bytes_per_step: int,
    bandwidth: float,
    engine: EngineConfig,
) -> dict[str, Any]:
    median = median_speed(speeds)
    decode = arguments.phase == "decode"
    # A decode step yields one token a sequence; a prefill step reads up to step_tokens.
    tokens_per_step = (
        arguments.batch if decode else min(arguments.prompt_tokens, engine.step_tokens)
    )
    steps_per_second = median.tokens_per_second / tokens_per_step
    document: dict[str, Any] = {
        "phase": arguments.phase,
        "tokens_per_second": median.tokens_per_second,
        "seconds": median.seconds,
        "tokens_per_second_overall": median.tokens_per_second_overall,
        "runs": [speed.tokens_per_second for speed in speeds],
        "roofline": roofline(bandwidth, bytes_per_step, steps_per_second),
        "prompt_tokens": arguments.prompt_tokens,
        "direct": arguments.direct,
    }
    if decode:
        document |= {"tokens": arguments.tokens, "batch": arguments.batch}
    return document


def _rows(document: dict[str, Any]) -> list[tuple[str, str]]:
    runs = "  ".join(f"{rate:,.1f}" for rate in document["runs"])
    sequences = f", {document['batch']} sequences" if document.get("batch", 1) > 1 else ""
    guest = " without guests" if document["direct"] else ""
    return [
        (document["phase"], f"{document['tokens_per_second']:,.1f} tok/s{sequences}{guest}"),
        ("whole run", f"{document['tokens_per_second_overall']:,.1f} tok/s, prompt and all"),
        ("runs", runs),
    ]
