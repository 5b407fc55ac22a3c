"""How often something took how long, at the price of two additions."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence

FIRST_TOKEN_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
NEXT_TOKEN_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0)


class Histogram:
    """Counts of durations by their upper bound. One thread adds, any thread may read.

    Not prometheus_client's, which takes a lock twice for every observation: `next_token` is called
    for every token of every stream.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """bounds: seconds, ascending; what is longer than the last one is counted as well."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        """One more took so long."""
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    @property
    def sum(self) -> float:
        """Of all, in seconds."""
        return self._sum

    def buckets(self) -> list[tuple[str, float]]:
        """Each upper bound as text with how many took at most so long, '+Inf' last."""
        return list(self._buckets(list(self._counts)))

    def _buckets(self, counts: Sequence[int]) -> Iterator[tuple[str, float]]:
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), counts, strict=True):
            total += count
            yield ("+Inf" if bound == float("inf") else repr(float(bound))), float(total)
