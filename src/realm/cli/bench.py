"""`realm bench decode|prefill|tenants`: speed on this machine, beside what memory allows."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.cli import tenant_bench
from realm.cli.arguments import (
    add_engine_arguments,
    add_json_argument,
    add_model_arguments,
    whole_number,
)
from realm.cli.context import Context
from realm.cli.measurement import (
    Speed,
    Workload,
    measure_batch,
    measure_decode,
    measure_prefill,
    median_speed,
    workload_text,
)
from realm.cli.model_file import find_model_file
from realm.cli.presentation import format_bytes, format_rows, print_json
from realm.cli.process_memory import peak_memory_bytes
from realm.config import EngineConfig, ModelConfig

if TYPE_CHECKING:
    from realm.runtime import RuntimeManager, TenantRuntime

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
        phase.add_argument(
            "--prompt-tokens", type=whole_number(1), default=prompt_tokens, metavar="N"
        )
        if name == "decode":
            phase.add_argument("--tokens", type=whole_number(2), default=64, metavar="N")
            phase.add_argument(
                "--batch", type=whole_number(1), default=1, metavar="B", help="tenants at once"
            )
        phase.add_argument("--repeats", type=whole_number(1), default=5, metavar="N")
        phase.add_argument("--warm-up", type=whole_number(0), default=1, metavar="N")
        phase.add_argument(
            "--direct", action="store_true", help="leave the tenants' WASM programs out"
        )
        add_engine_arguments(phase)
        add_json_argument(phase)
    summary = tenant_bench.SUMMARY
    tenant_bench.configure(phases.add_parser("tenants", help=summary, description=summary))


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """See `realm.cli.main.Command`."""
    if arguments.phase == "tenants":
        return tenant_bench.execute(arguments, context)
    path = find_model_file(arguments, context)
    engine = EngineConfig(threads=arguments.threads)
    with context.open_runtime(engine) as runtime:
        speeds, bytes_per_step = _measure(runtime, path, arguments)
        peak_rss_bytes = peak_memory_bytes()  # before the probe below takes memory of its own
    bandwidth = context.measure_bandwidth(engine.thread_count)
    document = _document(arguments, speeds, bytes_per_step, bandwidth, engine)
    document = {
        **document,
        "peak_rss_bytes": peak_rss_bytes,
        "threads": engine.thread_count,
        "instruction_set": context.instruction_set(),
        "model": str(path),
    }
    if arguments.json:
        print_json(document, context.stdout)
    else:
        context.stdout.write(_table(document))
    return 0


def _measure(
    runtime: RuntimeManager, path: Path, arguments: argparse.Namespace
) -> tuple[list[Speed], int]:
    configuration = ModelConfig(path)
    batch = arguments.batch if arguments.phase == "decode" else 1
    tenants = [
        runtime.get_or_create_runtime_with_model(f"bench-{number}", configuration)
        for number in range(batch)
    ]
    model = runtime.models[configuration.name]
    workload = Workload(
        text_ids=tuple(model.tokenizer.encode(workload_text(), add_special=False)),
        prompt_tokens=arguments.prompt_tokens,
        tokens=arguments.tokens if arguments.phase == "decode" else 1,
        direct=arguments.direct,
    )
    speeds = [
        _measure_round(tenants, workload, arguments.phase, number)
        for number in range(arguments.warm_up + arguments.repeats)
    ]
    return speeds[arguments.warm_up :], model.bytes_per_token


def _measure_round(
    tenants: Sequence[TenantRuntime], workload: Workload, phase: str, number: int
) -> Speed:
    if phase == "prefill":
        return measure_prefill(tenants[0], workload, number)
    if len(tenants) == 1:
        return measure_decode(tenants[0], workload, number)
    return measure_batch(tenants, workload, number)


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
        "roofline": {
            "bandwidth_bytes_per_second": bandwidth,
            "bytes_per_step": bytes_per_step,
            "fraction": steps_per_second * bytes_per_step / bandwidth,
        },
        "prompt_tokens": arguments.prompt_tokens,
        "direct": arguments.direct,
    }
    if decode:
        document |= {"tokens": arguments.tokens, "batch": arguments.batch}
    return document


def _table(document: dict[str, Any]) -> str:
    roofline = document["roofline"]
    runs = "  ".join(f"{rate:,.1f}" for rate in document["runs"])
    sequences = f", {document['batch']} sequences" if document.get("batch", 1) > 1 else ""
    guest = " without guests" if document["direct"] else ""
    rows = [
        (document["phase"], f"{document['tokens_per_second']:,.1f} tok/s{sequences}{guest}"),
        ("whole run", f"{document['tokens_per_second_overall']:,.1f} tok/s, prompt and all"),
        ("runs", runs),
        (
            "memory limit",
            f"{roofline['fraction']:.0%} of {roofline['bandwidth_bytes_per_second'] / 1e9:.1f} "
            f"GB/s at {format_bytes(roofline['bytes_per_step'])} a step",
        ),
        ("peak memory", format_bytes(document["peak_rss_bytes"])),
        ("engine", f"{document['threads']} threads, {document['instruction_set']}"),
    ]
    return format_rows(rows, indent="")
