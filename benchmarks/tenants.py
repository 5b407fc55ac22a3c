"""What adapters cost a step: against their rank, their number, and the number of tenants.

    python benchmarks/tenants.py [--model NAME|PATH] [--threads 2] [--precision int8] [--quick]

Times native steps alone, each point the median of several that give logits, beside the same steps
without adapters right before. The limit is the bytes of weights, adapters and cache that a step
reads over the read bandwidth. Adapters are random, of all linear products. Writes JSON and an SVG.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import command_line
import curves
import results
import svg_plot
from stepper import NO_ADAPTERS, Stepper

from realm.catalog import Catalog
from realm.cli.random_adapters import write_random_adapter
from realm.kernels import measure_bandwidth
from realm.lora import load_adapter
from realm.model import (
    AdapterPrecision,
    ModelStorage,
    PackedAdapter,
    StoredModel,
    WeightedAdapter,
    adapter_rows,
)

PANELS = ("rank", "adapters", "tenants")
SERIES = (
    ("tokens_per_second", "with adapters", "#1f5fbf", ""),
    ("base_tokens_per_second", "without", "#4a7a3a", "2 3"),
    ("bandwidth_limit", "read bandwidth", "#b3541e", "6 4"),
)
RANKS = (4, 8, 16, 32, 64)
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128)
RANK, TENANTS, CONTEXT = 16, 16, 128
QUICK_RANKS, QUICK_COUNTS = (4, 16), (1, 4, 16)


@dataclass(frozen=True, slots=True)
class Point:
    """Tenants decode at once with `adapters` different adapters, spread evenly."""

    tenants: int
    adapters: int
    rank: int


def points_of(*, quick: bool) -> dict[str, dict[int, Point]]:
    """What is measured, by panel and by its place there."""
    ranks, counts = (QUICK_RANKS, QUICK_COUNTS) if quick else (RANKS, COUNTS)
    most = counts[-1]
    return {
        "rank": {rank: Point(TENANTS, TENANTS, rank) for rank in ranks},
        "adapters": {count: Point(most, count, RANK) for count in counts},
        "tenants": {count: Point(count, count, RANK) for count in counts},
    }


def median_seconds(
    model: StoredModel, used: Sequence[PackedAdapter], tenants: int, threads: int, steps: int
) -> list[float]:
    """Of a step of these tenants without and with their adapters."""
    # Tenants with one adapter stand together, as the engine puts them.
    own = [WeightedAdapter(used[number * len(used) // tenants]) for number in range(tenants)]
    adapted = adapter_rows([(1, (each,)) for each in own])
    return Stepper(model, tenants, CONTEXT, threads).median_seconds(steps, NO_ADAPTERS, adapted)


def random_packed(
    model: StoredModel, rank: int, count: int, precision: AdapterPrecision
) -> list[PackedAdapter]:
    """Different adapters, written, read and packed one after another."""
    found = []
    with tempfile.TemporaryDirectory(prefix="realm-bench-") as folder:
        for seed in range(count):
            path = Path(folder) / "adapter.gguf"
            write_random_adapter(path, model.adapter_base, rank, seed)
            adapter = load_adapter(path, model.adapter_base)
            found.append(model.pack_adapter(adapter, precision))
    return found


def figures(
    point: Point, seconds: Sequence[float], moved: tuple[int, int], bandwidth: float
) -> dict[str, float]:
    """Of one point. seconds: of a step without and with adapters. moved: bytes that it reads of
    weights and cache, and of adapters."""
    plain, adapted = seconds
    return {
        "tokens_per_second": point.tenants / adapted,
        "base_tokens_per_second": point.tenants / plain,
        "share_of_base": plain / adapted,
        "bandwidth_limit": point.tenants * bandwidth / sum(moved),
        "adapter_bytes": moved[1],
    }


def measure(
    model: StoredModel, threads: int, steps: int, precision: AdapterPrecision, *, quick: bool
) -> dict[str, Any]:
    """Every point of every panel; adapters of a rank are made once."""
    bandwidth = measure_bandwidth(threads, curves.PROBE_BYTES)
    points = points_of(quick=quick)
    found: dict[str, dict[int, dict[str, float]]] = {panel: {} for panel in PANELS}
    every = [(panel, at, point) for panel in PANELS for at, point in points[panel].items()]
    for rank in sorted({point.rank for _, _, point in every}):
        mine = [each for each in every if each[2].rank == rank]
        adapters = random_packed(model, rank, max(p.adapters for *_, p in mine), precision)
        for panel, at, point in mine:
            used = adapters[: point.adapters]
            seconds = median_seconds(model, used, point.tenants, threads, steps)
            cache = point.tenants * curves.cache_bytes(model, CONTEXT)
            moved = (model.bytes_per_token + cache, sum(each.byte_size for each in used))
            found[panel][at] = figures(point, seconds, moved, bandwidth)
            print(f"{panel} {at}: {found[panel][at]['share_of_base']:.2f}", file=sys.stderr)
    return {"bandwidth_bytes_per_second": bandwidth} | {
        panel: dict(sorted(found[panel].items())) for panel in PANELS
    }


def table(document: dict[str, Any]) -> str:
    """One line a point."""
    lines = [f"{document['model']}, {document['threads']} threads, {document['precision']}, tok/s"]
    for panel in PANELS:
        lines.append(f"{panel:>9}  adapted     base  of base  bandwidth  of that  adapters")
        for at, point in document["curves"][panel].items():
            rate, limit = point["tokens_per_second"], point["bandwidth_limit"]
            lines.append(
                f"{at:>9} {rate:8.1f} {point['base_tokens_per_second']:8.1f} "
                f"{point['share_of_base']:8.2f} {limit:10.1f} {rate / limit:8.2f} "
                f"{point['adapter_bytes'] / 1e6:7.1f} MB"
            )
    return "\n".join(lines)


def main() -> int:
    """Measure, print, write JSON and SVG."""
    arguments = _parse()
    path = Catalog().obtain(arguments.model)
    model = ModelStorage(arguments.threads).load(path)
    document = results.begin(
        model=path.name, threads=arguments.threads, precision=arguments.precision
    )
    document["curves"] = measure(
        model, arguments.threads, arguments.steps, arguments.precision, quick=arguments.quick
    )
    output = results.write(document, f"tenants-{path.stem}", arguments.output)
    output.with_suffix(".svg").write_text(svg_plot.draw(document, PANELS, SERIES), encoding="utf-8")
    print(table(document))
    print(f"written: {output} and {output.with_suffix('.svg').name}")
    return 0


def _parse() -> argparse.Namespace:
    parser = command_line.parser(__doc__, "model", "threads", "output")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--precision", choices=("int8", "bfloat16"), default="int8")
    parser.add_argument("--quick", action="store_true", help="fewer points")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
