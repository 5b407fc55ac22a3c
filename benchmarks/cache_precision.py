"""Keys and values as int8 beside float16: what it costs in likelihood, and what it gives in speed.

    python benchmarks/cache_precision.py [--model smollm2] [--context 1024] [--windows 12]

Perplexity of a text with both, and how far the logits differ. Then native decode steps with both in
turns, against the length of the context, for one sequence and for sixteen. Writes JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import command_line
import numpy as np
import results
from stepper import NO_ADAPTERS, Stepper

from realm.catalog import Catalog
from realm.cli.perplexity import negative_log_likelihood, text_windows
from realm.config import CachePrecision
from realm.model import ModelStorage, StoredModel

TEXT = Path(__file__).resolve().parent.parent / "tests" / "data" / "english.txt"
BOTH: tuple[CachePrecision, CachePrecision] = ("float16", "int8")
CONTEXTS = (128, 512, 2048, 8192, 16384)
SEQUENCES = (1, 16)
MOST_TOKENS = 64 << 10  # of all sequences together
STEPS = 9


def likelihood(model: StoredModel, text: str, context: int, most: int) -> dict[str, float]:
    """Perplexity with both, and the norm of the logits' difference over that of the logits."""
    tokenizer = model.tokenizer
    bos_id = tokenizer.bos_id if tokenizer.add_bos else None
    ids = tokenizer.encode(text, add_special=False)
    windows = list(text_windows(ids, context, bos_id))[:most]
    sums, errors = dict.fromkeys(BOTH, 0.0), []
    for window in windows:
        exact, near = (model.logits(window, cache_precision=each) for each in BOTH)
        for each, logits in zip(BOTH, (exact, near), strict=True):
            sums[each] += negative_log_likelihood(logits, window)
        errors.append(float(np.linalg.norm(near - exact) / np.linalg.norm(exact)))
    scored = sum(len(window) - 1 for window in windows)
    found = {f"perplexity_{each}": float(np.exp(sums[each] / scored)) for each in BOTH}
    ratio = found["perplexity_int8"] / found["perplexity_float16"]
    return found | {
        "perplexity_ratio": ratio,
        "logits_difference": statistics.median(errors),
        "tokens": scored,
    }


def speed(model: StoredModel, batch: int, context: int, threads: int) -> dict[str, float]:
    """Milliseconds of a step with both, and float16's over int8's, the median of steps in turns."""
    steppers = [Stepper(model, batch, context, threads, each) for each in BOTH]
    rounds = [
        [stepper.median_seconds(1, NO_ADAPTERS)[0] for stepper in steppers] for _ in range(STEPS)
    ]
    wide, narrow = (statistics.median(each) for each in zip(*rounds, strict=True))
    return {
        "sequences": batch,
        "context": context,
        "float16_ms": round(1e3 * wide, 3),
        "int8_ms": round(1e3 * narrow, 3),
        "gain": round(statistics.median(one / other for one, other in rounds), 3),
    }


def main() -> int:
    """Measure, print, write."""
    parser = command_line.parser(__doc__, "model", "threads", "output")
    parser.add_argument("--context", type=int, default=1024, help="tokens of a window")
    parser.add_argument("--windows", type=int, default=12)
    arguments = parser.parse_args()
    path = Catalog().obtain(arguments.model)
    document = results.begin(model=path.name, threads=arguments.threads)
    model = ModelStorage(threads=arguments.threads).load(path)
    text = TEXT.read_text(encoding="utf-8")
    document |= likelihood(model, text, arguments.context, arguments.windows)
    document["page_bytes"] = {each: model.native.page_bytes(each) for each in BOTH}
    document["steps"] = [
        speed(model, batch, context, arguments.threads)
        for batch in SEQUENCES
        for context in CONTEXTS
        if batch * context <= MOST_TOKENS
    ]
    print(json.dumps(document, indent=2))
    print(f"written: {results.write(document, 'cache-precision', arguments.output)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
