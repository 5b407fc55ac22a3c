"""What the phases of `realm bench` have in common: options, tenants, workload, and the report."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.cli.arguments import add_engine_arguments, add_json_argument, whole_number
from realm.cli.context import Context
from realm.cli.measurement import Workload, workload_text
from realm.cli.presentation import format_bytes, format_rows, print_json
from realm.config import EngineConfig, ModelConfig

if TYPE_CHECKING:
    from realm.model import StoredModel
    from realm.runtime import RuntimeManager, TenantRuntime


def add_run_arguments(phase: argparse.ArgumentParser, *, prompt_tokens: int) -> None:
    """--prompt-tokens, --repeats, --warm-up, --direct, --threads, --json."""
    phase.add_argument("--prompt-tokens", type=whole_number(1), default=prompt_tokens, metavar="N")
    phase.add_argument("--repeats", type=whole_number(1), default=5, metavar="N")
    phase.add_argument("--warm-up", type=whole_number(0), default=1, metavar="N")
    phase.add_argument("--direct", action="store_true", help="leave the tenants' WASM programs out")
    add_engine_arguments(phase)
    add_json_argument(phase)


def add_tokens_argument(phase: argparse.ArgumentParser) -> None:
    """--tokens, of phases that decode."""
    phase.add_argument("--tokens", type=whole_number(2), default=64, metavar="N")


def open_tenants(
    runtime: RuntimeManager, path: Path, count: int
) -> tuple[list[TenantRuntime], StoredModel]:
    """So many tenants on one model, and the model."""
    configuration = ModelConfig(path)
    tenants = [
        runtime.get_or_create_runtime_with_model(f"bench-{number}", configuration)
        for number in range(count)
    ]
    return tenants, runtime.models[configuration.name]


def make_workload(model: StoredModel, arguments: argparse.Namespace) -> Workload:
    """What every round does, out of the phase's arguments."""
    return Workload(
        text_ids=tuple(model.tokenizer.encode(workload_text(), add_special=False)),
        prompt_tokens=arguments.prompt_tokens,
        tokens=arguments.tokens,
        direct=arguments.direct,
    )


def roofline(bandwidth: float, bytes_per_step: int, steps_per_second: float) -> dict[str, float]:
    """How much of the memory's bytes a second the steps read; fraction: of one."""
    return {
        "bandwidth_bytes_per_second": bandwidth,
        "bytes_per_step": bytes_per_step,
        "fraction": steps_per_second * bytes_per_step / bandwidth,
    }


def machine_document(
    context: Context, engine: EngineConfig, path: Path, peak_rss_bytes: int
) -> dict[str, Any]:
    """Where it was measured."""
    return {
        "peak_rss_bytes": peak_rss_bytes,
        "threads": engine.thread_count,
        "instruction_set": context.instruction_set(),
        "model": str(path),
    }


def write_report(
    document: dict[str, Any],
    rows: Sequence[tuple[str, str]],
    arguments: argparse.Namespace,
    context: Context,
) -> None:
    """The document with --json, else a table. rows: the phase's own, which stand first."""
    if arguments.json:
        print_json(document, context.stdout)
        return
    limit = document["roofline"]
    machine = [
        (
            "memory limit",
            f"{limit['fraction']:.0%} of {limit['bandwidth_bytes_per_second'] / 1e9:.1f} "
            f"GB/s at {format_bytes(limit['bytes_per_step'])} a step",
        ),
        ("peak memory", format_bytes(document["peak_rss_bytes"])),
        ("engine", f"{document['threads']} threads, {document['instruction_set']}"),
    ]
    context.stdout.write(format_rows([*rows, *machine], indent=""))
