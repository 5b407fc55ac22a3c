"""Everything that is claimed of Realm's speed, measured on this machine: one table, plot and JSON.

    python benchmarks/campaign.py [--lines 1 2 sandbox ...] [--rounds 5] [--threads 2]

Contestants take turns: each once a round, in an order that turns, a process each. A ratio is the
median of the rounds' own ratios. What a row means is in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import signal
import sys

import campaign_plot
import command_line
import contests
import peers
import results
import table_rows
from contest_rows import hold
from engine_rows import curve_rows, step_rows
from field import Field
from table_rows import Row
from vllm_peer import Vllm

from realm.catalog import Catalog


def main() -> int:
    """Measure, print the table, write JSON and SVG."""
    arguments = _parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no peer is left behind
    lines = frozenset(arguments.lines)
    arguments.peers.mkdir(parents=True, exist_ok=True)
    llama = peers.choose(arguments.peer_binaries, arguments.peers)
    document = results.begin(
        peer=llama.package,
        threads=arguments.threads,
        rounds=arguments.rounds,
        repeats_in_a_process=arguments.repeats,
        rows=[],
        contests=[],
        curves=[],
    )
    rows: list[Row] = []
    smollm2 = Catalog().obtain(contests.CATALOG_NAMES[contests.SMOLLM2])
    with Vllm(arguments.peers, smollm2, arguments.threads) as vllm:
        field = Field(llama, vllm, arguments.peers, arguments.threads, arguments.repeats)
        for contest in contests.CONTESTS:
            if contest.names(lines):
                found, raw = hold(contest, field, lines, arguments.rounds)
                rows += found
                document["contests"].append(raw)
    if "4" in lines:
        rows += step_rows(smollm2, arguments.threads, arguments.rounds)
    if "8" in lines:
        for name in contests.CURVES:
            found, raw = curve_rows(name, field.model(name), arguments.threads, arguments.full)
            rows += found
            document["curves"].append(raw)
    rows.sort(key=lambda row: contests.LINES.index(row.line))
    document["rows"] = [row.document() for row in rows]
    print(table_rows.table(rows))
    print(table_rows.footer(document))
    written = results.write(document, f"campaign-{arguments.threads}-threads", arguments.output)
    written.with_suffix(".svg").write_text(campaign_plot.draw(document), encoding="utf-8")
    print(f"written: {written} and {written.with_suffix('.svg').name}")
    return 0


def _parse() -> argparse.Namespace:
    parser = command_line.parser(__doc__, "threads", "repeats", "output")
    parser.add_argument("--lines", nargs="+", default=contests.LINES, choices=contests.LINES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--full", action="store_true", help="every point of the cost curves")
    peers.add_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
