"""Any model: Realm with and without its guest beside llama.cpp on the same file, in turns.

    python benchmarks/compare.py --model NAME|PATH [--threads 2] [--rounds 5]

The three cases of the campaign, without wanted ratios.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import command_line
import contests
import peers
import results
import table_rows
from contest_rows import hold
from contestants import CASES
from contests import Contest, Pair
from field import Field
from vllm_peer import Vllm

PAIRS = (
    Pair("", contests.LLAMA, None),
    Pair("", contests.LLAMA, None, ours=contests.DIRECT),
    Pair("", contests.DIRECT, None),
)


def main() -> int:
    """Measure, print the table, write the JSON."""
    arguments = _parse()
    llama = peers.choose(arguments.peer_binaries, arguments.peers)
    document = results.begin(
        peer=llama.package, threads=arguments.threads, rounds=arguments.rounds, rows=[], contests=[]
    )
    rows = []
    with Vllm(arguments.peers, Path(arguments.model), arguments.threads) as vllm:
        field = Field(llama, vllm, arguments.peers, arguments.threads, arguments.repeats)
        for case in CASES:
            contest = Contest(arguments.model, case, PAIRS)
            found, raw = hold(contest, field, frozenset([""]), arguments.rounds)
            rows += found
            document["contests"].append(raw)
    document["rows"] = [row.document() for row in rows]
    print(table_rows.table(rows))
    print(table_rows.footer(document))
    name = f"{Path(arguments.model).stem}-{arguments.threads}-threads"
    print(f"written: {results.write(document, name, arguments.output)}")
    return 0


def _parse() -> argparse.Namespace:
    parser = command_line.parser(__doc__, "model", "threads", "repeats", "output")
    parser.add_argument("--rounds", type=int, default=5)
    peers.add_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
