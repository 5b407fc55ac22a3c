"""Rows that need no peer: what of a step is Python, and long contexts beside their limits."""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import contests
import process
import rounds
from table_rows import Row

HERE = Path(__file__).resolve().parent


def step_rows(model: Path, threads: int, count: int) -> list[Row]:
    """Line 4: what of a step is not the native call."""
    found = []
    for batch, wanted in contests.STEP_SHARES:
        command = [sys.executable, str(HERE / "step_share.py"), "--model", str(model)]
        command += ["--threads", str(threads), "--batch", str(batch)]
        answers = [json.loads(process.run(command).stdout) for _ in range(count)]
        shares = [answer["share"] for answer in answers]
        print(f"step share  {batch} sequences  {shares}", file=sys.stderr)
        found.append(
            Row(
                "4",
                f"{contests.SMOLLM2}, {batch} at once: outside the native call",
                "the whole step",
                unit="ms",
                figure=1e3 * statistics.median(a["outside_seconds_per_step"] for a in answers),
                other=1e3 * statistics.median(a["seconds_per_step"] for a in answers),
                share=rounds.spread(shares),
                wanted=wanted,
                at_most=True,
            )
        )
    return found


def curve_rows(
    name: str, model: Path, threads: int, full: bool
) -> tuple[list[Row], dict[str, Any]]:
    """Line 8: the curves of one model; rows for long contexts, held against the lower limit."""
    print(f"curves of {name}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "curves.json"
        command = [sys.executable, str(HERE / "curves.py"), "--model", str(model)]
        command += ["--threads", str(threads), "--output", str(output)]
        process.run(command if full else [*command, "--quick"])
        document = json.loads(output.read_text(encoding="utf-8"))
    found = []
    for panel, at, what in (
        ("sequences", "64", "64 sequences"),
        ("context", "8192", "context 8 k"),
        ("context", "32768", "context 32 k"),
    ):
        point = document["curves"][panel].get(at)
        if point is None:
            continue
        limits = {"read bandwidth": point["bandwidth_limit"], "products": point["arithmetic_limit"]}
        bound = min(limits, key=lambda limit: limits[limit])
        rate = point["tokens_per_second"]
        found.append(
            Row(
                "8",
                f"{name}, {what}",
                f"limit of {bound}",
                figure=rate,
                other=limits[bound],
                share=rounds.spread([rate / limits[bound]]),
            )
        )
    return found, document
