"""`realm bench tenants`: many tenants at once, each with an adapter, beside the same without."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.cli.arguments import (
    add_engine_arguments,
    add_json_argument,
    add_model_arguments,
    whole_number,
)
from realm.cli.context import Context
from realm.cli.measurement import Speed, Workload, measure_batch, measure_decode, workload_text
from realm.cli.model_file import find_model_file
from realm.cli.presentation import format_bytes, format_rows, print_json
from realm.cli.process_memory import peak_memory_bytes
from realm.cli.random_adapters import packed_bytes, write_random_adapter
from realm.config import EngineConfig, ModelConfig
from realm.gguf import open_gguf
from realm.model.adapter_base import adapter_base
from realm.model.architectures import read_hyperparameters

if TYPE_CHECKING:
    from realm.lora import AdapterBase
    from realm.runtime import RuntimeManager, TenantRuntime

SUMMARY = "tokens a second of many tenants, each with its own adapter"


@dataclass(frozen=True, slots=True)
class _Runs:
    """Of alternating rounds: base is measured right before adapted."""

    base: list[Speed]
    adapted: list[Speed]
    adapter_bytes: int
    bytes_per_step: int


def configure(phase: argparse.ArgumentParser) -> None:
    """The arguments of this phase."""
    add_model_arguments(phase)
    positive = whole_number(1)
    phase.add_argument("--tenants", type=positive, default=16, metavar="N", help="at once (16)")
    phase.add_argument("--rank", type=positive, default=16, metavar="R", help="(16)")
    phase.add_argument(
        "--adapters", type=positive, metavar="K", help="different ones; one a tenant if left out"
    )
    phase.add_argument("--prompt-tokens", type=positive, default=64, metavar="N")
    phase.add_argument("--tokens", type=whole_number(2), default=64, metavar="N")
    phase.add_argument("--repeats", type=positive, default=5, metavar="N")
    phase.add_argument("--warm-up", type=whole_number(0), default=1, metavar="N")
    phase.add_argument("--direct", action="store_true", help="leave the tenants' WASM programs out")
    add_engine_arguments(phase)
    add_json_argument(phase)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Measure, print; see `realm.cli.main.Command`."""
    path = find_model_file(arguments, context)
    with open_gguf(path) as file:
        base = adapter_base(read_hyperparameters(file), file)
    count = arguments.adapters or arguments.tenants
    budget = count * packed_bytes(base, arguments.rank)
    engine = EngineConfig(threads=arguments.threads, adapter_bytes=budget)
    with (
        tempfile.TemporaryDirectory(prefix="realm-bench-") as folder,
        context.open_runtime(engine) as runtime,
    ):
        tenants = _open_tenants(runtime, path, arguments.tenants)
        _load_adapters(runtime, base, Path(folder), arguments.rank, count)
        runs = _measure(runtime, tenants, path, arguments, count)
        peak_rss_bytes = peak_memory_bytes()  # before the probe below takes memory of its own
    document = _document(runs, arguments, context.measure_bandwidth(engine.thread_count)) | {
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


def adapter_name(number: int) -> str:
    """What the number-th adapter is loaded as."""
    return f"random-{number}"


def _open_tenants(runtime: RuntimeManager, path: Path, count: int) -> list[TenantRuntime]:
    configuration = ModelConfig(path)
    return [
        runtime.get_or_create_runtime_with_model(f"bench-{number}", configuration)
        for number in range(count)
    ]


def _load_adapters(
    runtime: RuntimeManager, base: AdapterBase, folder: Path, rank: int, count: int
) -> None:
    for number in range(count):
        file = write_random_adapter(folder / f"{number}.gguf", base, rank, number)
        runtime.lora.load(adapter_name(number), file)


def _measure(
    runtime: RuntimeManager,
    tenants: Sequence[TenantRuntime],
    path: Path,
    arguments: argparse.Namespace,
    adapters: int,
) -> _Runs:
    model = runtime.models[ModelConfig(path).name]
    workload = Workload(
        text_ids=tuple(model.tokenizer.encode(workload_text(), add_special=False)),
        prompt_tokens=arguments.prompt_tokens,
        tokens=arguments.tokens,
        direct=arguments.direct,
    )
    base: list[Speed] = []
    adapted: list[Speed] = []
    for number in range(arguments.warm_up + arguments.repeats):
        for speeds, is_adapted in ((base, False), (adapted, True)):
            for index, tenant in enumerate(tenants):
                name = adapter_name(index % adapters) if is_adapted else None
                runtime.set_tenant_lora_adapter(tenant.tenant_id, name)
            if len(tenants) == 1:
                speeds.append(measure_decode(tenants[0], workload, 2 * number + is_adapted))
            else:
                speeds.append(measure_batch(tenants, workload, 2 * number + is_adapted))
    used = min(adapters, len(tenants))
    adapter_bytes = sum(
        each.resident_bytes
        for each in runtime.lora.list()
        if each.name in {adapter_name(number) for number in range(used)}
    )
    return _Runs(
        base[arguments.warm_up :],
        adapted[arguments.warm_up :],
        adapter_bytes,
        model.bytes_per_token + adapter_bytes,
    )


def _document(runs: _Runs, arguments: argparse.Namespace, bandwidth: float) -> dict[str, Any]:
    rates = [speed.tokens_per_second for speed in runs.adapted]
    base_rates = [speed.tokens_per_second for speed in runs.base]
    rate = statistics.median(rates)
    return {
        "phase": "tenants",
        "tokens_per_second": rate,
        "base_tokens_per_second": statistics.median(base_rates),
        # Rounds are compared with themselves: a machine that slows down slows both.
        "share_of_base": statistics.median(
            mine / other for mine, other in zip(rates, base_rates, strict=True)
        ),
        "tokens_per_second_overall": statistics.median(
            speed.tokens_per_second_overall for speed in runs.adapted
        ),
        "base_tokens_per_second_overall": statistics.median(
            speed.tokens_per_second_overall for speed in runs.base
        ),
        "runs": rates,
        "base_runs": base_rates,
        "adapter_bytes": runs.adapter_bytes,
        "roofline": {
            "bandwidth_bytes_per_second": bandwidth,
            "bytes_per_step": runs.bytes_per_step,
            "fraction": rate / arguments.tenants * runs.bytes_per_step / bandwidth,
        },
        "tenants": arguments.tenants,
        "adapters": arguments.adapters or arguments.tenants,
        "rank": arguments.rank,
        "prompt_tokens": arguments.prompt_tokens,
        "tokens": arguments.tokens,
        "direct": arguments.direct,
    }


def _table(document: dict[str, Any]) -> str:
    roofline = document["roofline"]
    rows = [
        ("adapted", f"{document['tokens_per_second']:,.1f} tok/s, {document['tenants']} tenants"),
        ("base", f"{document['base_tokens_per_second']:,.1f} tok/s"),
        ("share of base", f"{document['share_of_base']:.0%}"),
        (
            "adapters",
            f"{document['adapters']} of rank {document['rank']}, "
            f"{format_bytes(document['adapter_bytes'])} in use",
        ),
        (
            "memory limit",
            f"{roofline['fraction']:.0%} of {roofline['bandwidth_bytes_per_second'] / 1e9:.1f} "
            f"GB/s at {format_bytes(roofline['bytes_per_step'])} a step",
        ),
        ("peak memory", format_bytes(document["peak_rss_bytes"])),
        ("engine", f"{document['threads']} threads, {document['instruction_set']}"),
    ]
    return format_rows(rows, indent="")
