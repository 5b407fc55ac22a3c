"""Two ways of doing the same in turns, a short slice each: what else the machine does meets both.

The first of a pair changes. The figure is the median of the pairs' ratios, with the interval in
which that median lies in 90 % of resampled rounds (bootstrap).
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable

_RESAMPLES = 2000


def in_pairs(
    names: tuple[str, str], run: Callable[[str, int], float], rounds: int
) -> dict[str, object]:
    """Rates of both ways and the first's over the second's. run: one slice of the way of this name;
    number: another one for each slice. The first pair warms up and does not count."""
    rates: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        order = names if number % 2 else names[::-1]
        for place, name in enumerate(order):
            rate = run(name, number * 2 + place)
            if number:
                rates[name].append(rate)
    first, second = (rates[name] for name in names)
    ratios = [one / other for one, other in zip(first, second, strict=True)]
    low, high = _interval(ratios)
    return {
        "rounds": rounds,
        f"{names[0]}_tokens_per_second": round(statistics.median(first), 1),
        f"{names[1]}_tokens_per_second": round(statistics.median(second), 1),
        "ratio": round(statistics.median(ratios), 4),
        "ratio_interval_90": [round(low, 4), round(high, 4)],
        "ratios": [round(ratio, 4) for ratio in ratios],
    }


def _interval(values: list[float]) -> tuple[float, float]:
    source = random.Random(0)
    medians = sorted(
        statistics.median(source.choices(values, k=len(values))) for _ in range(_RESAMPLES)
    )
    return medians[_RESAMPLES // 20], medians[-_RESAMPLES // 20]
