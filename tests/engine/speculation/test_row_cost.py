"""What the estimate of a step's seconds by rows makes of measurements and of steps."""

import random

import pytest

from realm.engine.speculation import MEASURED_ROWS, RowCost


def knee(rows: int) -> float:
    """A machine that computes up to ten rows in the time of one."""
    return 0.003 * max(1.0, rows / 10)


def test_nothing_is_known_without_a_step() -> None:
    assert RowCost().seconds(1) == RowCost({}).seconds(1) == 1.0
    assert RowCost({1: 0.0, 0: 1.0}).seconds(1) == 1.0  # a clock that stands still measures nothing


def test_what_was_measured_is_what_is_answered() -> None:
    measured = {rows: 0.001 * (3 + rows % 5) for rows in MEASURED_ROWS}
    cost = RowCost(measured)
    for rows, seconds in measured.items():
        assert cost.seconds(rows) == pytest.approx(seconds)


def test_between_measurements_and_beyond_the_last_the_line_goes_on() -> None:
    cost = RowCost({rows: 0.1 + 0.01 * rows for rows in MEASURED_ROWS})
    for rows in (9, 11, 20, 57, 65, 200):
        assert cost.seconds(rows) == pytest.approx(0.1 + 0.01 * rows)


def test_one_measurement_scales_the_first_shape() -> None:
    cost, shape = RowCost({2: 0.3}), RowCost()
    for rows in (1, 2, 5, 30, 64):
        expected = 0.3 * shape.seconds(rows) / shape.seconds(2)
        assert cost.seconds(rows) == pytest.approx(expected)
    assert cost.seconds(2) == pytest.approx(0.3)


def test_the_first_step_tells_how_long_steps_are() -> None:
    cost = RowCost()
    cost.observe(4, 0.02)
    assert cost.seconds(4) == pytest.approx(0.02)


def test_steps_of_all_sizes_are_learnt_through_noise() -> None:
    draw, cost = random.Random(8), RowCost({1: 0.010})
    for _ in range(4000):
        rows = draw.choice(MEASURED_ROWS)
        cost.observe(rows, knee(rows) * draw.lognormvariate(0, 0.05))
    for rows in MEASURED_ROWS:
        assert cost.seconds(rows) == pytest.approx(knee(rows), rel=0.15)


def test_a_step_that_is_not_like_its_neighbours_stays_so() -> None:
    # Four rows quicker than three, as kernels that take rows in blocks have it.
    times = {1: 1.0, 2: 1.4, 3: 1.7, 4: 1.2, 5: 1.9, 6: 1.4}
    cost = RowCost(times)
    for _ in range(200):
        for rows, seconds in times.items():
            cost.observe(rows, seconds)
    for rows, seconds in times.items():
        assert cost.seconds(rows) == pytest.approx(seconds, rel=0.05)


def test_a_stall_counts_little() -> None:
    cost = RowCost({rows: knee(rows) for rows in MEASURED_ROWS})
    cost.observe(4, 10.0)
    assert cost.seconds(4) < 1.15 * knee(4)


def test_a_stall_in_the_first_step_of_a_size_is_forgotten() -> None:
    cost, slow = RowCost(), RowCost()
    for _ in range(20):
        cost.observe(1, knee(1))
        slow.observe(1, knee(1))
    expected = cost.seconds(2)
    cost.observe(2, 10.0)
    assert cost.seconds(2) > 1.4 * expected
    for _ in range(200):
        cost.observe(1, knee(1))
    assert cost.seconds(2) < 1.1 * expected
    # What is slow each time is known in the end, and stays so.
    for _ in range(10):
        slow.observe(2, 1.5 * expected)
    for _ in range(200):
        slow.observe(1, knee(1))
    assert slow.seconds(2) > 1.3 * expected


def test_a_slower_machine_is_noticed_for_steps_that_did_not_come_too() -> None:
    cost = RowCost({rows: knee(rows) for rows in MEASURED_ROWS})
    for _ in range(5000):
        cost.observe(1, 2 * knee(1))
    assert cost.seconds(1) == pytest.approx(2 * knee(1), rel=0.02)
    assert cost.seconds(8) == pytest.approx(2 * knee(8), rel=0.02)


def test_steps_more_than_were_measured_move_the_last() -> None:
    cost = RowCost({rows: knee(rows) for rows in MEASURED_ROWS})
    for _ in range(100):
        cost.observe(64, 1.5 * knee(64))
    assert cost.seconds(64) == pytest.approx(1.5 * knee(64), rel=0.05)
    before = cost.seconds(300)
    cost.observe(300, 2 * before)
    assert before < cost.seconds(300) < 2 * before


@pytest.mark.parametrize("rows", [65, 128, 256, 512])
def test_no_time_is_ever_nothing_or_less(rows: int) -> None:
    for seed in range(40):
        draw, cost = random.Random(seed), RowCost()
        counts = [1] * 4 + [draw.randrange(33, 51) for _ in range(draw.randrange(1, 7))]
        for each in counts + [rows] * 40:
            stall = 3.0 if draw.random() < 0.1 else 1.0
            cost.observe(each, (0.005 + 0.001 * each) * stall * draw.lognormvariate(0, 0.08))
            assert min(cost.table(1, 600)) > 0.0
        assert cost.seconds(rows) == pytest.approx(0.005 + 0.001 * rows, rel=0.6)


def test_impossible_steps_are_not_taken() -> None:
    cost = RowCost({1: 0.01})
    before = [cost.seconds(rows) for rows in MEASURED_ROWS]
    cost.observe(0, 1.0)
    cost.observe(4, 0.0)
    cost.observe(4, -1.0)
    assert [cost.seconds(rows) for rows in MEASURED_ROWS] == before
