"""Which decode rows a step takes when one owner wants far more of them than others do.

Every row of a step makes it longer for all. An owner that wants no more than most is never cut, nor
for the sake of lower priorities. One that wants far more gets what most get, and beyond that as
many rows as others lose little by: where reading the weights is what takes the time, those are
many. Pure functions on plain data.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from realm.engine.scheduler import Candidate

_FAR_MORE = 1.5  # times what most owners want


class DecodeRows(NamedTuple):
    """rows: what the step takes, in the given order. cut: owners of which it leaves some out."""

    rows: list[Candidate]
    cut: frozenset[str] = frozenset()


class Crowding(NamedTuple):
    """row_seconds: of a step of so many decode rows. most_loss: part of their speed that others may
    lose to an owner that wants far more than they do; 1 for any."""

    row_seconds: Callable[[int], float]
    most_loss: float


def decode_rows(
    candidates: Sequence[Candidate],
    weights: Mapping[str, float],
    crowding: Crowding,
    turn: int,
) -> DecodeRows:
    """Those of the candidates with one pending token that the step takes.

    turn: counts the steps; rows of an owner that is cut take turns.
    """
    decoding = [each for each in candidates if each.pending == 1]
    if len(candidates) < 2 or crowding.most_loss >= 1.0:
        return DecodeRows(decoding)
    wanted = Counter(each.owner for each in candidates)
    if len(wanted) < 2:
        return DecodeRows(decoding)
    levels = _levels(candidates, wanted, weights)
    cut = {
        owner: levels[owner]
        for owner, count in wanted.items()
        if count > _FAR_MORE * levels[owner] * weights.get(owner, 1.0)
    }
    if not cut:
        return DecodeRows(decoding)
    ready: dict[str, list[Candidate]] = {}
    for each in decoding:
        ready.setdefault(each.owner, []).append(each)
    given = {
        owner: min(len(ready[owner]), max(1, math.ceil(level * weights.get(owner, 1.0))))
        for owner, level in cut.items()
        if owner in ready
    }
    base = sum(given.get(owner, len(rows)) for owner, rows in ready.items())
    most_seconds = crowding.row_seconds(max(base, 1)) / (1.0 - crowding.most_loss)
    for total in range(base + 1, len(decoding) + 1):
        open_owners = [owner for owner, count in given.items() if count < len(ready[owner])]
        if not open_owners or crowding.row_seconds(total) > most_seconds:
            break
        least = min(open_owners, key=lambda owner: given[owner] / weights.get(owner, 1.0))
        given[least] += 1
    kept = {
        each.sequence
        for owner, count in given.items()
        for each in _in_turn(ready[owner], count, turn)
    }
    rows = [each for each in decoding if each.owner not in given or each.sequence in kept]
    left = frozenset(owner for owner, count in given.items() if count < len(ready[owner]))
    return DecodeRows(rows, left)


def _levels(
    candidates: Sequence[Candidate], wanted: Mapping[str, int], weights: Mapping[str, float]
) -> dict[str, float]:
    """Rows for a weight of one that most want of those with at least the owner's priority."""
    priorities: dict[str, int] = {}
    for each in candidates:
        priorities[each.owner] = max(each.priority, priorities.get(each.owner, each.priority))
    found: dict[int, float] = {}
    for priority in set(priorities.values()):
        own = sorted(
            count / weights.get(owner, 1.0)
            for owner, count in wanted.items()
            if priorities[owner] >= priority
        )
        found[priority] = own[(len(own) - 1) // 2]
    return {owner: found[priority] for owner, priority in priorities.items()}


def _in_turn(rows: Sequence[Candidate], count: int, turn: int) -> list[Candidate]:
    """So many of the rows, others in the next turn."""
    ordered = sorted(rows, key=lambda each: each.sequence)
    first = turn * count
    return [ordered[(first + place) % len(ordered)] for place in range(count)]
