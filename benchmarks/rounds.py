"""Contestants in turns, and what their figures are worth. Knows no contestant."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Spread:
    """Of one quantity over the rounds."""

    median: float
    lowest: float
    highest: float

    def __str__(self) -> str:
        digits = 2 if self.median >= 0.1 else 3
        median, *ends = (f"{x:.{digits}f}" for x in (self.median, self.lowest, self.highest))
        return f"{median} ({'-'.join(ends)})"

    def document(self) -> dict[str, float]:
        """As JSON keeps it."""
        return asdict(self)


def in_turns(
    field: Mapping[str, Callable[[], Found]],
    rounds: int,
    tell: Callable[[int, str, Found], None],
) -> dict[str, list[Found]]:
    """Everyone once a round, in an order that turns; a machine that slows down slows all.

    tell: hears the round's number (from 1), the contestant and its figure. Returns each one's
    figures in the order of the rounds.
    """
    names = list(field)
    found: dict[str, list[Found]] = {name: [] for name in names}
    for number in range(rounds):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            figure = field[name]()
            found[name].append(figure)
            tell(number + 1, name, figure)
    return found


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest."""
    return Spread(statistics.median(values), min(values), max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Of the rounds' own ratios; figures of different rounds never meet."""
    return spread([mine / other for mine, other in zip(ours, theirs, strict=True)])
