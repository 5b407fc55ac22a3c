"""Realm beside llama.cpp: the same file, threads and sizes, in turns, a process each.

    python benchmarks/compare.py [--model NAME|PATH] [--threads 2] [--rounds 5]

In each round every contestant runs once, in an order that turns round to round, so that a machine
that slows down slows all of them. The ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import contestants
import machine
import peers
from contestants import Case, Figure

from realm.catalog import Catalog

HERE = Path(__file__).resolve().parent
LLAMA, REALM, DIRECT = "llama.cpp", "Realm", "Realm, no guest"

Contestant = Callable[[Case], Figure]
Figures = dict[str, dict[str, list[Figure]]]  # case -> contestant -> one figure a round


def main() -> int:
    """Measure, print the table, write the JSON."""
    arguments = _parse()
    model = Catalog().obtain(arguments.model)
    peer = (
        peers.from_binaries(arguments.peer_binaries)
        if arguments.peer_binaries
        else peers.prepare(arguments.peers)
    )
    cases = [case for case in contestants.CASES if case.name in arguments.cases]
    before = machine.describe()
    figures = measure(_field(arguments, peer, model), cases, arguments.rounds)
    document = {
        "taken": datetime.datetime.now(tz=datetime.UTC).strftime("%Y-%m-%d"),
        "machine": before,
        "peer": peer.package,
        "model": {
            "file": model.name,
            "size_bytes": model.stat().st_size,
            "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        },
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "repeats_in_a_process": arguments.repeats,
        "cases": [_case_document(case, figures[case.name]) for case in cases],
    }
    print(table(document))
    print(f"written: {_write(document, arguments.output)}")
    return 0


def measure(field: dict[str, Contestant], cases: Sequence[Case], rounds: int) -> Figures:
    """Every case of every contestant, once a round."""
    figures: Figures = {case.name: {name: [] for name in field} for case in cases}
    for number in range(rounds):
        for case in cases:
            names = list(field)
            shift = number % len(names)
            for name in names[shift:] + names[:shift]:
                figure = field[name](case)
                figures[case.name][name].append(figure)
                print(
                    f"round {number + 1}/{rounds}  {case.name:12} {name:16} "
                    f"{figure.tokens_per_second:9.1f} tok/s",
                    file=sys.stderr,
                )
    return figures


def table(document: dict) -> str:
    """The document as text."""
    names = list(document["cases"][0]["median"])
    header = ["", *names, *(f"{name} / {LLAMA}" for name in names if name != LLAMA)]
    rows = [header]
    for case in document["cases"]:
        row = [case["name"], *(f"{case['median'][name]:,.1f}" for name in names)]
        for ratio in case["ratio"].values():
            row.append(f"{ratio['median']:.2f} ({ratio['lowest']:.2f}-{ratio['highest']:.2f})")
        rows.append(row)
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    facts = document["machine"]
    lines.append(
        f"tokens/s, medians of {document['rounds']} rounds; {document['model']['file']}, "
        f"{document['threads']} threads; {facts['processor']} ({facts['family_model']}), "
        f"{facts['cores']} cores; {document['peer']}"
    )
    return "\n".join(lines)


def _case_document(case: Case, figures: dict[str, list[Figure]]) -> dict:
    rates = {name: [f.tokens_per_second for f in each] for name, each in figures.items()}
    memory = {name: [f.peak_rss_bytes for f in each] for name, each in figures.items()}
    ratios = {
        name: [ours / theirs for ours, theirs in zip(each, rates[LLAMA], strict=True)]
        for name, each in rates.items()
        if name != LLAMA and LLAMA in rates
    }
    return {
        "name": case.name,
        "batch": case.batch,
        "prompt_tokens": case.prompt_tokens,
        "tokens": case.tokens,
        "median": {name: statistics.median(each) for name, each in rates.items()},
        "ratio": {
            name: {
                "median": statistics.median(each), "lowest": min(each), "highest": max(each)
            }
            for name, each in ratios.items()
        },
        "tokens_per_second": rates,
        "peak_rss_bytes": {name: statistics.median(each) for name, each in memory.items()},
    }  # fmt: skip


def _field(
    arguments: argparse.Namespace, peer: peers.LlamaCpp, model: Path
) -> dict[str, Contestant]:
    threads, repeats = arguments.threads, arguments.repeats
    field: dict[str, Contestant] = {
        LLAMA: lambda case: contestants.run_llama_cpp(peer, case, model, threads, repeats),
        REALM: lambda case: contestants.run_realm(case, model, threads, repeats, direct=False),
        DIRECT: lambda case: contestants.run_realm(case, model, threads, repeats, direct=True),
    }
    return {name: field[name] for name in (LLAMA, REALM, DIRECT) if name in arguments.contestants}


def _write(document: dict, output: Path | None) -> Path:
    if output is None:
        processor = machine.slug(document["machine"]["processor"])
        stem = Path(document["model"]["file"]).stem.lower()
        name = f"{document['taken']}-{processor}-{stem}-{document['threads']}-threads.json"
        output = HERE / "results" / "local" / name
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return output


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="smollm2", help="a catalog name or a file (smollm2)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3, help="runs inside each process")
    parser.add_argument(
        "--cases", nargs="+", default=[case.name for case in contestants.CASES], metavar="CASE"
    )
    parser.add_argument(
        "--contestants", nargs="+", default=[LLAMA, REALM, DIRECT], choices=[LLAMA, REALM, DIRECT]
    )
    parser.add_argument("--peers", type=Path, default=HERE.parent / "build" / "peers")
    parser.add_argument("--peer-binaries", type=Path, help="a folder that has llama-bench")
    parser.add_argument("--output", type=Path, help="the JSON file (benchmarks/results/local/...)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
