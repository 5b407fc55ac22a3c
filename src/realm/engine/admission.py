"""Who gets cache pages, and who gives them up: pure functions on plain data.

A sequence begins when pages for all of its tokens are free and some are left for those that run
to grow. One that does not fit may be passed by others, but not for ever. Pages are taken away from
the least entitled: lower priority first, then of the owner that has had most, then who lost its
pages least often, then the latest.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Waiting(NamedTuple):
    """A sequence in the queue.

    tokens: what it has to compute. pages: free pages that it would take. passed_pages: how many
    others got that came after it.
    """

    sequence: int
    owner: str
    priority: int
    arrival: int
    tokens: int
    pages: int
    passed_pages: int = 0


class Holder(NamedTuple):
    """A sequence that has pages and would free `pages` of them.

    served: new rows since it got them. losses: how often it lost its pages before.
    """

    sequence: int
    owner: str
    priority: int
    arrival: int
    served: int
    pages: int
    losses: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """What there is to give.

    free_pages: now. reserve_pages: stay free for those that run. passing_pages: how many pages may
    go past one that does not fit. prompt_rows: rows of admitted prompts that are still to compute.
    prompt_limit: no prompt joins those while they are as many, unless its owner has none of them.
    """

    free_pages: int
    reserve_pages: int
    passing_pages: int
    prompt_rows: int = 0
    prompt_limit: int = 512


@dataclass(frozen=True, slots=True)
class Admission:
    """admitted: in this order. blocked: the first that does not fit, if any.

    passed_pages: what went to those that came after it.
    """

    admitted: tuple[int, ...]
    blocked: Waiting | None = None
    passed_pages: int = 0


def plan_admission(
    waiting: Iterable[Waiting],
    virtual: Mapping[str, float],
    room: Room,
    *,
    busy_owners: Iterable[str] = (),
    weights: Mapping[str, float] | None = None,
) -> Admission:
    """Who begins now. busy_owners: those that have an admitted prompt still to compute."""
    shares = weights or {}
    had = dict(virtual)
    busy = set(busy_owners)
    line = [((-each.priority, had[each.owner], each.arrival), each) for each in waiting]
    heapq.heapify(line)
    admitted: list[int] = []
    free, prompt_rows = room.free_pages - room.reserve_pages, room.prompt_rows
    blocked: Waiting | None = None
    passed = 0
    while line:
        (priority, virtual_then, arrival), each = heapq.heappop(line)
        if had[each.owner] > virtual_then:
            heapq.heappush(line, ((priority, had[each.owner], arrival), each))
            continue
        if prompt_rows >= room.prompt_limit and each.owner in busy:
            continue
        if each.pages > max(free, 0):
            blocked = blocked or each
            continue
        if blocked is not None:
            if blocked.passed_pages + passed + each.pages > room.passing_pages:
                break
            passed += each.pages
        admitted.append(each.sequence)
        free -= each.pages
        prompt_rows += each.tokens
        busy.add(each.owner)
        had[each.owner] += each.tokens / shares.get(each.owner, 1.0)
    return Admission(tuple(admitted), blocked, passed)


def least_entitled(
    holders: Sequence[Holder], virtual: Mapping[str, float], lag: float
) -> Holder | None:
    """Who loses its pages first. lag: smaller differences between owners do not count."""
    return max(holders, key=lambda each: _rank(each, virtual, lag), default=None)


def plan_displacement(
    claimant: Waiting,
    holders: Sequence[Holder],
    virtual: Mapping[str, float],
    lag: float,
    shortage: int,
) -> tuple[int, ...]:
    """Who must give up pages so that `claimant` can begin; nobody when it has to wait.

    It may displace lower priorities, owners of its own priority that are ahead of its own by more
    than `lag` virtual tokens, and sequences of its owner that got `lag` rows since they began.
    """
    weaker = [each for each in holders if _may_displace(claimant, each, virtual, lag)]
    weaker.sort(key=lambda each: _rank(each, virtual, lag), reverse=True)
    chosen: list[int] = []
    freed = 0
    for each in weaker:
        if freed >= shortage:
            break
        if each.pages:
            chosen.append(each.sequence)
            freed += each.pages
    return tuple(chosen) if freed >= shortage else ()


def _may_displace(
    claimant: Waiting, holder: Holder, virtual: Mapping[str, float], lag: float
) -> bool:
    if holder.priority != claimant.priority:
        return holder.priority < claimant.priority
    if holder.owner == claimant.owner:
        return holder.served > lag
    return virtual[holder.owner] - virtual[claimant.owner] > lag


def _rank(each: Holder, virtual: Mapping[str, float], lag: float) -> tuple[int, int, int, int]:
    return (-each.priority, int(virtual[each.owner] / lag), -each.losses, each.arrival)
