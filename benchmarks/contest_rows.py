"""A contest held: everyone measured in turns, the table's rows and all figures out of it."""

from __future__ import annotations

import statistics
import sys
from typing import Any

import contests
import rounds
from contestants import Figure
from contests import Contest, Pair
from field import Field
from missing import UnavailableError
from table_rows import Row


def hold(
    contest: Contest, field: Field, lines: frozenset[str], count: int
) -> tuple[list[Row], dict[str, Any]]:
    """The contest's rows of these lines, and every figure of every round for the JSON."""
    pairs = [pair for pair in contest.pairs if pair.line in lines]
    absent: dict[str, str] = {}
    runners = {}
    try:
        model = field.model(contest.model)
    except UnavailableError as error:
        absent = dict.fromkeys(contest.names(lines), str(error))
    for name in contest.names(lines):
        if name in absent:
            continue
        try:
            runners[name] = field.contestant(name, model, contest.case)
        except UnavailableError as error:
            absent[name] = str(error)

    def tell(number: int, name: str, figure: Figure) -> None:
        where = f"round {number}/{count}  {contest.model:20} {contest.case.name:12}"
        print(f"{where} {name:24} {figure.tokens_per_second:9.1f} tok/s", file=sys.stderr)

    figures = rounds.in_turns(runners, count, tell) if runners else {}
    rates = {name: [each.tokens_per_second for each in found] for name, found in figures.items()}
    raw = {
        "model": contest.model,
        "case": contest.case.name,
        "batch": contest.case.batch,
        "prompt_tokens": contest.case.prompt_tokens,
        "tokens": contest.case.tokens,
        "tokens_per_second": rates,
        "peak_rss_bytes": {
            name: statistics.median(each.peak_rss_bytes for each in found)
            for name, found in figures.items()
        },
        "missing": absent,
    }
    return [_row(contest, pair, rates, absent) for pair in pairs], raw


def _row(
    contest: Contest, pair: Pair, rates: dict[str, list[float]], absent: dict[str, str]
) -> Row:
    what = f"{contest.model}, {contest.case.name}"
    if pair.ours != contests.REALM:
        what += f", {pair.ours.removeprefix('Realm, ')}"
    for name in (pair.theirs, pair.ours):
        if name in absent:
            return Row(pair.line, what, pair.theirs, wanted=pair.wanted, missing=absent[name])
    ours, theirs = rates[pair.ours], rates[pair.theirs]
    return Row(
        pair.line,
        what,
        pair.theirs,
        figure=statistics.median(ours),
        other=statistics.median(theirs),
        share=rounds.ratio(ours, theirs),
        wanted=pair.wanted,
    )
