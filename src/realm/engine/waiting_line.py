"""Sequences that wait for pages, by priority and owner, each owner's in the order of arrival."""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Iterator, Mapping

from realm.engine.sequence import Sequence


class WaitingLine:
    """Joining and leaving cost by the owner's own part, looking costs by what is looked at."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: dict[tuple[int, str], list[Sequence]] = {}

    def __bool__(self) -> bool:
        return bool(self._parts)

    def __iter__(self) -> Iterator[Sequence]:
        for part in self._parts.values():
            yield from part

    def owners(self) -> Iterator[str]:
        """Owners of those that wait; one may come more than once."""
        return (owner for _, owner in self._parts)

    def join(self, sequence: Sequence) -> None:
        """By its `arrival`: one that lost its pages has its old place again."""
        part = self._parts.setdefault((-sequence.priority, sequence.owner), [])
        insort(part, sequence, key=lambda each: each.arrival)

    def leave(self, sequence: Sequence) -> None:
        """It got its pages or is closed; nothing happens when it does not wait."""
        key = (-sequence.priority, sequence.owner)
        part = self._parts.get(key, [])
        for index, each in enumerate(part):
            if each is sequence:
                del part[index]
                break
        if key in self._parts and not part:
            del self._parts[key]

    def first(self, virtual: Mapping[str, float], parts: int, depth: int) -> Iterator[Sequence]:
        """The first `depth` sequences of the `parts` most entitled parts."""
        order = heapq.nsmallest(parts, self._parts, key=lambda key: (key[0], virtual[key[1]]))
        for key in order:
            yield from self._parts[key][:depth]
