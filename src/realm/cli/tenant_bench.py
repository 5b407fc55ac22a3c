"""`realm bench tenants`: many tenants at once, each with an adapter, beside the same without."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realm.cli.adapter_base import read_adapter_base
from realm.cli.arguments import add_model_arguments, whole_number
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
from realm.cli.measurement import Speed, measure_tenants
from realm.cli.model_file import find_model_file
from realm.cli.presentation import format_bytes
from realm.cli.process_memory import peak_memory_bytes
from realm.cli.random_adapters import packed_bytes, write_random_adapter
from realm.config import EngineConfig
from realm.errors import ConfigError

if TYPE_CHECKING:
    from realm.lora import AdapterBase
    from realm.model import StoredModel
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
    add_tokens_argument(phase)
    add_run_arguments(phase, prompt_tokens=64)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Measure, print; see `realm.cli.main.Command`."""
    path = find_model_file(arguments, context)
    base = read_adapter_base(path)
    count = arguments.adapters or arguments.tenants
    budget = count * packed_bytes(base, arguments.rank)
    engine = EngineConfig(threads=arguments.threads, adapter_bytes=budget)
    with (
        tempfile.TemporaryDirectory(prefix="realm-bench-") as folder,
        context.open_runtime(engine) as runtime,
    ):
        tenants, model = open_tenants(runtime, path, arguments.tenants)
        _load_adapters(runtime, base, Path(folder), arguments.rank, count)
        runs = _measure(runtime, tenants, model, arguments, count)
        peak_rss_bytes = peak_memory_bytes()  # before the probe below takes memory of its own
    document = _document(runs, arguments, context.measure_bandwidth(engine.thread_count))
    document |= machine_document(context, engine, path, peak_rss_bytes)
    write_report(document, _rows(document), arguments, context)
    return 0


def adapter_name(number: int) -> str:
    """What the number-th adapter is loaded as."""
    return f"random-{number}"


def _load_adapters(
    runtime: RuntimeManager, base: AdapterBase, folder: Path, rank: int, count: int
) -> None:
    for number in range(count):
        try:
            file = write_random_adapter(folder / f"{number}.gguf", base, rank, number)
        except OSError as error:
            raise ConfigError(f"the adapters cannot be written: {error}") from error
        runtime.lora.load(adapter_name(number), file)


def _measure(
    runtime: RuntimeManager,
    tenants: Sequence[TenantRuntime],
    model: StoredModel,
    arguments: argparse.Namespace,
    adapters: int,
) -> _Runs:
    workload = make_workload(model, arguments)
    base: list[Speed] = []
    adapted: list[Speed] = []
    for number in range(arguments.warm_up + arguments.repeats):
        for speeds, is_adapted in ((base, False), (adapted, True)):
            for index, tenant in enumerate(tenants):
                name = adapter_name(index % adapters) if is_adapted else None
                runtime.set_tenant_lora_adapter(tenant.tenant_id, name)
            speeds.append(measure_tenants(tenants, workload, 2 * number + is_adapted))
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
        "roofline": roofline(bandwidth, runs.bytes_per_step, rate / arguments.tenants),
        "tenants": arguments.tenants,
        "adapters": arguments.adapters or arguments.tenants,
        "rank": arguments.rank,
        "prompt_tokens": arguments.prompt_tokens,
        "tokens": arguments.tokens,
        "direct": arguments.direct,
    }


def _rows(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("adapted", f"{document['tokens_per_second']:,.1f} tok/s, {document['tenants']} tenants"),
        ("base", f"{document['base_tokens_per_second']:,.1f} tok/s"),
        ("share of base", f"{document['share_of_base']:.0%}"),
        (
            "adapters",
            f"{document['adapters']} of rank {document['rank']}, "
            f"{format_bytes(document['adapter_bytes'])} in use",
        ),
    ]
