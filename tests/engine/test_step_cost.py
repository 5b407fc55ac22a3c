"""What the estimate of a step's cost makes of steps, plain and strange ones."""

import random

import pytest

from realm.engine.scheduler import StepCost
from realm.engine.step_cost import StepCostEstimate

TRUE = StepCost(0.003, 0.00036, 0.0005)


def estimate_after(steps: list[tuple[int, int]], noise: float = 0.0) -> StepCostEstimate:
    draw, estimate = random.Random(4), StepCostEstimate()
    for rows, answers in steps:
        estimate.observe(rows, answers, TRUE.seconds(rows, answers) * draw.lognormvariate(0, noise))
    return estimate


def varied_steps(count: int) -> list[tuple[int, int]]:
    draw = random.Random(5)
    return [(rows, draw.randint(1, rows)) for rows in (draw.randint(1, 200) for _ in range(count))]


def test_nothing_is_known_before_the_first_step() -> None:
    assert StepCostEstimate().cost == StepCost(0.0, 0.0, 0.0)


def test_one_step_is_told_apart_into_positive_parts() -> None:
    cost = estimate_after([(16, 4)]).cost
    assert cost.seconds(16, 4) == pytest.approx(TRUE.seconds(16, 4))
    assert min(cost.fixed_seconds, cost.row_seconds, cost.answer_seconds) > 0.0


def test_the_parts_are_found_from_varied_steps() -> None:
    cost = estimate_after(varied_steps(3000)).cost
    assert cost.row_seconds == pytest.approx(TRUE.row_seconds, rel=0.02)
    assert cost.answer_seconds == pytest.approx(TRUE.answer_seconds, rel=0.02)
    assert cost.fixed_seconds == pytest.approx(TRUE.fixed_seconds, rel=0.25)


def test_noise_in_steps_that_are_all_alike_makes_no_part_vanish() -> None:
    # A plain least-squares line through such steps has any slope, also none at all: then a prompt
    # would look free, and everybody who decodes would wait for it.
    draw, estimate = random.Random(6), estimate_after(varied_steps(300))
    for _ in range(2000):
        estimate.observe(80, 60, TRUE.seconds(80, 60) * draw.lognormvariate(0, 0.3))
        assert estimate.cost.seconds(400, 60) > 2.0 * estimate.cost.seconds(80, 60)


def test_a_stall_counts_little_and_a_slower_machine_is_noticed() -> None:
    estimate = estimate_after(varied_steps(300), noise=0.05)
    before = estimate.cost.seconds(60, 40)
    estimate.observe(60, 40, 5.0)
    assert estimate.cost.seconds(60, 40) < 1.2 * before
    for rows, answers in varied_steps(200):
        estimate.observe(rows, answers, 3.0 * TRUE.seconds(rows, answers))
    assert estimate.cost.seconds(60, 40) == pytest.approx(3.0 * TRUE.seconds(60, 40), rel=0.1)
