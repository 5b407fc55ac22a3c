"""Which adapters stand in memory: a pure decision on plain data.

What is used or pinned stays. What waits is loaded in the order in which it came, into free memory
and into that of the longest unused. Later arrivals may pass one that finds no room, but not for
ever: when it was passed often enough, adapters in use take no new users until there is room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")
Load = TypeVar("Load")


@dataclass(frozen=True, slots=True)
class Resident(Generic[Key]):
    """An adapter in memory. last_used: grows with every use; the least is the longest unused."""

    key: Key
    byte_size: int
    user_count: int
    is_pinned: bool
    last_used: int


@dataclass(frozen=True, slots=True)
class Wanted(Generic[Load]):
    """An adapter that someone waits for. byte_size: known or estimated. passed_count: how often
    others were given theirs since it began to wait."""

    key: Load
    byte_size: int
    passed_count: int


@dataclass(frozen=True, slots=True)
class ResidencyPlan(Generic[Key, Load]):
    """evict: give their memory back now. load: then begin to load, in this order. closed: give
    these to nobody new until they are idle."""

    evict: tuple[Key, ...]
    load: tuple[Load, ...]
    closed: frozenset[Key]


def plan_residency(
    budget_bytes: int,
    reserved_bytes: int,
    residents: Sequence[Resident[Key]],
    wanted: Sequence[Wanted[Load]],
    patience: int,
) -> ResidencyPlan[Key, Load]:
    """What to do now.

    reserved_bytes: of loads that have begun. wanted: the longest waiting first. patience: how
    often one may be passed. More resident than the budget allows: as much as can go, goes.
    """
    free = budget_bytes - reserved_bytes - sum(each.byte_size for each in residents)
    idle = sorted(
        (each for each in residents if each.user_count == 0 and not each.is_pinned),
        key=lambda each: each.last_used,
        reverse=True,
    )
    evict: list[Key] = []
    load: list[Load] = []
    closed: frozenset[Key] = frozenset()
    while free < 0 and idle:
        free += _evict(idle, evict)
    for each in wanted:
        if each.byte_size <= free + sum(other.byte_size for other in idle):
            while free < each.byte_size:
                free += _evict(idle, evict)
            free -= each.byte_size
            load.append(each.key)
        elif each.passed_count >= patience:
            missing = each.byte_size - free - sum(other.byte_size for other in idle)
            closed = _close(residents, missing) | {other.key for other in idle}
            break  # what comes behind it waits as well
    return ResidencyPlan(tuple(evict), tuple(load), closed)


def _evict(idle: list[Resident[Key]], evict: list[Key]) -> int:
    oldest = idle.pop()
    evict.append(oldest.key)
    return oldest.byte_size


def _close(residents: Sequence[Resident[Key]], missing: int) -> frozenset[Key]:
    """Adapters in use whose memory would be enough, the longest unused first."""
    closed = []
    in_use = [each for each in residents if each.user_count > 0 and not each.is_pinned]
    for each in sorted(in_use, key=lambda each: each.last_used):
        if missing <= 0:
            break
        closed.append(each.key)
        missing -= each.byte_size
    return frozenset(closed)
