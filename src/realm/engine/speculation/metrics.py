"""What speculation did: counts by source, exact, each verified draft once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from realm.engine.speculation.draft import Source


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """Verified drafts of one source.

    drafted: tokens that were verified. accepted: those of them that joined the sequence.
    lengths: lengths[n] drafts had n tokens accepted; their sum is the number of drafts.
    """

    drafted: int = 0
    accepted: int = 0
    lengths: tuple[int, ...] = ()

    @property
    def drafts(self) -> int:
        """How many drafts were verified, in whole or in part."""
        return sum(self.lengths)

    @property
    def accepted_length(self) -> float:
        """Tokens accepted of a draft, the mean; 0 without drafts."""
        return self.accepted / self.drafts if self.drafts else 0.0

    def plus(self, other: SourceCounts) -> SourceCounts:
        """Both together."""
        size = max(len(self.lengths), len(other.lengths))
        mine = self.lengths + (0,) * (size - len(self.lengths))
        others = other.lengths + (0,) * (size - len(other.lengths))
        lengths = tuple(a + b for a, b in zip(mine, others, strict=True))
        return SourceCounts(self.drafted + other.drafted, self.accepted + other.accepted, lengths)


@dataclass(frozen=True, slots=True)
class SpeculationMetrics:
    """What speculation did so far, for one tenant or for all. Sources without drafts are absent."""

    by_source: Mapping[Source, SourceCounts] = field(default_factory=dict)

    @property
    def total(self) -> SourceCounts:
        """Every source together."""
        counts = SourceCounts()
        for each in self.by_source.values():
            counts = counts.plus(each)
        return counts

    @property
    def drafted(self) -> int:
        """Tokens that were verified."""
        return sum(each.drafted for each in self.by_source.values())

    @property
    def accepted(self) -> int:
        """Drafted tokens that joined their sequence."""
        return sum(each.accepted for each in self.by_source.values())

    def plus(self, other: SpeculationMetrics) -> SpeculationMetrics:
        """Both together."""
        merged = dict(self.by_source)
        for source, counts in other.by_source.items():
            merged[source] = merged.get(source, SourceCounts()).plus(counts)
        return SpeculationMetrics(merged)


class SpeculationCounter:
    """Counts while it happens; `metrics` is a copy."""

    __slots__ = ("_accepted", "_drafted", "_lengths")

    def __init__(self) -> None:
        self._drafted: dict[Source, int] = {}
        self._accepted: dict[Source, int] = {}
        self._lengths: dict[Source, list[int]] = {}

    def count(self, source: Source, drafted: int, accepted: int) -> None:
        """A draft was verified: so many of its tokens, of which so many were accepted."""
        self._accepted[source] = self._accepted.get(source, 0) + accepted
        lengths = self._lengths.setdefault(source, [])
        lengths.extend([0] * (accepted + 1 - len(lengths)))
        lengths[accepted] += 1
        # Last: another thread may read.
        self._drafted[source] = self._drafted.get(source, 0) + drafted

    @property
    def metrics(self) -> SpeculationMetrics:
        """The counts by now."""
        return SpeculationMetrics(
            {
                source: SourceCounts(drafted, self._accepted[source], tuple(self._lengths[source]))
                for source, drafted in list(self._drafted.items())
            }
        )
