"""What one step costs: against sequences, context and threads, with the limits drawn in.

    python benchmarks/curves.py [--model NAME|PATH] [--threads 2] [--quick]

Times native steps alone, each point the median of several that give logits. Two limits are drawn:
the bytes of weights and cache that a step reads over the read bandwidth, and the products'
operations over the rate that a product over data in cache reaches. Writes JSON and an SVG.
"""

from __future__ import annotations

import argparse
import sys

import command_line
import results
import svg_plot
from stepper import NO_ADAPTERS, Stepper

from realm.catalog import Catalog
from realm.kernels import measure_bandwidth, measure_products
from realm.model import ModelStorage, StoredModel

PROBE_BYTES = 256 << 20
SEQUENCES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
CONTEXTS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
CONTEXT_OF_BATCHES = 128
QUICK_SEQUENCES = (1, 4, 16, 64)
QUICK_CONTEXTS = (128, 1024, 8192, 32768)


def cache_bytes(model: StoredModel, context: int) -> int:
    """Bytes of keys and values that one row's attention reads."""
    h = model.hyperparameters
    row = 2 * 2 * h.kv_head_count * h.head_size
    return sum(row * (min(context, kind.window) if kind.window else context) for kind in h.layers)


def products(model: StoredModel) -> int:
    """Multiplications and additions of one row's products."""
    h = model.hyperparameters
    queries, cached = h.head_count * h.head_size, h.kv_head_count * h.head_size
    layer = h.hidden_size * (2 * queries + 2 * cached + 3 * h.feed_forward_size)
    return 2 * (layer * h.layer_count + h.vocabulary_size * h.hidden_size)


def measure(
    model: StoredModel, threads: int, steps: int, *, quick: bool = False
) -> dict[str, object]:
    """Every point, with its two limits, in tokens per second; quick: fewer points."""
    bandwidth = {n: measure_bandwidth(n, PROBE_BYTES) for n in range(1, threads + 1)}
    rate = {n: measure_products(model.native.instruction_set, n) for n in range(1, threads + 1)}

    def point(batch: int, context: int, team: int) -> dict[str, float]:
        (seconds,) = Stepper(model, batch, context, team).median_seconds(steps, NO_ADAPTERS)
        moved = model.bytes_per_token + batch * cache_bytes(model, context)
        return {
            "tokens_per_second": batch / seconds,
            "bandwidth_limit": batch / (moved / bandwidth[team]),
            "arithmetic_limit": rate[team] / products(model),
        }

    sequences = QUICK_SEQUENCES if quick else SEQUENCES
    contexts = QUICK_CONTEXTS if quick else CONTEXTS
    longest = model.hyperparameters.context_length
    return {
        "bandwidth_bytes_per_second": bandwidth,
        "products_operations_per_second": rate,
        "sequences": {n: point(n, CONTEXT_OF_BATCHES, threads) for n in sequences},
        "context": {n: point(1, n - 1, threads) for n in contexts if n <= longest},
        "threads": {n: point(1, CONTEXT_OF_BATCHES, n) for n in range(1, threads + 1)},
    }


def main() -> int:
    """Measure, print, write JSON and SVG."""
    arguments = _parse()
    path = Catalog().obtain(arguments.model)
    model = ModelStorage(arguments.threads).load(path)
    document = results.begin(model=path.name, threads=arguments.threads)
    document["curves"] = measure(model, arguments.threads, arguments.steps, quick=arguments.quick)
    output = results.write(document, f"curves-{path.stem}", arguments.output)
    output.with_suffix(".svg").write_text(svg_plot.draw(document), encoding="utf-8")
    print(svg_plot.table(document))
    print(f"written: {output} and {output.with_suffix('.svg').name}")
    return 0


def _parse() -> argparse.Namespace:
    parser = command_line.parser(__doc__, "model", "threads", "output")
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="fewer points")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
