"""How evenly tokens come in a crowd: on a machine of made-up time, noisy and with stalls."""

import itertools
import random
from collections.abc import Iterator

import pytest
from tests.engine.simulator import Simulator, Visit

MOST_GAP = 3.0  # 99 in 100 gaps between a session's tokens, in median steps
SESSIONS = 256
STEPS = 600


class Machine:
    """Seconds of a step as measured for SmolLM2 on two cores, times noise; now and then a stall."""

    def __init__(self, slowness: float, noise: float) -> None:
        self._slowness, self._noise, self._draw = slowness, noise, random.Random(3)

    def __call__(self, rows: int, answers: int) -> float:
        quiet = self._slowness * (0.003 + 0.00036 * rows + 0.0005 * answers)
        stall = self._draw.choice([2, 3, 6]) if self._draw.random() < 0.01 else 1
        return quiet * stall * self._draw.lognormvariate(0.0, self._noise)


def visits() -> Iterator[Visit]:
    """Prompts and answers of mixed lengths, as in benchmarks/soak.py."""
    draw = random.Random(7)
    while True:
        yield Visit(
            f"tenant-{draw.randrange(16)}",
            arrival=0,
            prompt=min(700, max(4, int(draw.lognormvariate(3.9, 0.9)))),
            tokens=min(300, max(2, int(draw.lognormvariate(4.2, 0.7)))),
            priority=draw.choice([0, 0, 0, 1]),
            shared=draw.choice([0, 96]),
        )


@pytest.mark.parametrize("page_count", [364, 2912])
@pytest.mark.parametrize(("slowness", "noise"), [(1.0, 0.1), (2.5, 0.25)])
def test_gaps_between_tokens(page_count: int, slowness: float, noise: float) -> None:
    simulator = Simulator(page_count, machine=Machine(slowness, noise))
    coming = visits()
    while simulator.steps < STEPS:
        while len(simulator.open) < SESSIONS:
            simulator.come(next(coming))
        simulator.step()
    gaps = sorted(
        later - earlier
        for each in [*simulator.finished, *simulator.open.values()]
        for earlier, later in itertools.pairwise(each.answered_seconds)
    )
    steps = sorted(simulator.step_seconds)
    assert len(gaps) > 8 * STEPS
    assert gaps[len(gaps) * 99 // 100] <= MOST_GAP * steps[len(steps) // 2]
