"""Who decodes in a step when one owner wants far more rows than others do."""

from __future__ import annotations

from collections import Counter
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.engine.crowding import Crowding
from realm.engine.crowding import decode_rows as decide
from realm.engine.scheduler import Candidate, StepCost, StepLimits, plan_step


def linear(rows: int) -> float:
    """Reading the weights costs as much as six rows."""
    return 6.0 + rows


def flat(rows: int) -> float:
    """The weights' way through memory is all that counts."""
    return 100.0 + rows


def candidates(**owners: int) -> list[Candidate]:
    numbers = count()
    return [
        Candidate(next(numbers), owner, 1) for owner, rows in owners.items() for _ in range(rows)
    ]


def decode_rows(crowd: list[Candidate], weights, crowding: Crowding, turn: int) -> list[Candidate]:
    """The rows; who is cut is who has fewer of them than it wants."""
    rows, cut = decide(crowd, weights, crowding, turn)
    assert cut == set((given_rows(crowd) - given_rows(rows)).elements())
    return rows


def given_rows(found: list[Candidate]) -> Counter[str]:
    return Counter(each.owner for each in found if each.pending == 1)


def test_a_flood_gets_what_most_get_and_what_others_hardly_feel() -> None:
    crowd = candidates(flood=40, **{f"tenant-{number}": 2 for number in range(8)})
    taken = decode_rows(crowd, {}, Crowding(linear, 0.1), 0)
    owners = given_rows(taken)
    assert all(owners[f"tenant-{number}"] == 2 for number in range(8))
    # 18 rows for all alike take 24; a tenth more speed lost at most is 26.67: 20 rows.
    assert owners["flood"] == 4
    assert linear(18) / linear(len(taken)) >= 0.9


def test_where_rows_cost_next_to_nothing_nobody_is_cut() -> None:
    crowd = candidates(flood=10, a=1, b=1)
    assert decode_rows(crowd, {}, Crowding(flat, 0.1), 0) == crowd


@pytest.mark.parametrize(
    "owners",
    [{"only": 50}, {"a": 30, "b": 30}, {"a": 3, "b": 2, "c": 2}, {"a": 20, "b": 20, "c": 1}],
)
def test_who_wants_what_most_want_is_not_cut(owners: dict[str, int]) -> None:
    crowd = candidates(**owners)
    assert decode_rows(crowd, {}, Crowding(linear, 0.0), 0) == crowd


def test_weights_raise_what_an_owner_may_have() -> None:
    crowd = candidates(heavy=8, a=2, b=2, c=2)
    assert decode_rows(crowd, {"heavy": 4.0}, Crowding(linear, 0.0), 0) == crowd
    cut = given_rows(decode_rows(crowd, {"heavy": 2.0}, Crowding(linear, 0.0), 0))
    assert cut == {"heavy": 4, "a": 2, "b": 2, "c": 2}


def test_nobody_is_cut_for_lower_priorities() -> None:
    high = [Candidate(number, "high", 1, priority=1) for number in range(20)]
    low = [Candidate(100 + number, f"low-{number}", 1) for number in range(5)]
    assert decode_rows(high + low, {}, Crowding(linear, 0.0), 0) == high + low
    others = [Candidate(200 + number, f"other-{number}", 1, priority=2) for number in range(2)]
    assert given_rows(decode_rows(high + others, {}, Crowding(linear, 0.0), 0))["high"] == 1


def test_prompts_count_as_wanted_but_are_not_decoded() -> None:
    crowd = candidates(flood=6, a=1)
    prompts = [Candidate(100 + number, "a", 50) for number in range(5)]
    assert decode_rows(crowd + prompts, {}, Crowding(linear, 0.0), 0) == crowd


def test_the_rows_of_a_flood_take_turns() -> None:
    crowd = candidates(flood=23, a=2, b=2)
    served: Counter[int] = Counter()
    for turn in range(230):
        for each in decode_rows(crowd, {}, Crowding(linear, 0.1), turn):
            served[each.sequence] += each.owner == "flood"
    shares = [served[each.sequence] for each in crowd if each.owner == "flood"]
    assert max(shares) - min(shares) <= 3 and min(shares) > 0


@given(
    owners=st.lists(st.integers(1, 30), min_size=2, max_size=9),
    weights=st.lists(st.floats(0.1, 10.0), min_size=9, max_size=9),
    most_loss=st.floats(0.0, 0.99),
    turn=st.integers(0, 1000),
)
def test_everyone_gets_a_row_and_nobody_loses_more(
    owners: list[int], weights: list[float], most_loss: float, turn: int
) -> None:
    crowd = candidates(**{f"owner-{number}": rows for number, rows in enumerate(owners)})
    shares = {f"owner-{number}": weight for number, weight in enumerate(weights)}
    taken = decode_rows(crowd, shares, Crowding(linear, most_loss), turn)
    assert [each for each in crowd if each in set(taken)] == taken
    strict = decode_rows(crowd, shares, Crowding(linear, 0.0), turn)
    assert given_rows(taken).keys() == given_rows(crowd).keys()
    assert all(given_rows(strict)[owner] <= rows for owner, rows in given_rows(taken).items())
    if len(taken) > len(strict):
        assert linear(len(strict)) / linear(len(taken)) >= 1.0 - most_loss - 1e-9


def test_the_plan_leaves_out_what_is_cut_and_keeps_prompts() -> None:
    crowd = [*candidates(flood=30, a=1, b=1), Candidate(99, "b", 40)]
    virtual = dict.fromkeys(("flood", "a", "b"), 0.0)
    plan = plan_step(
        crowd, virtual, StepLimits(), StepCost(6.0, 1.0, 1.0), crowding=Crowding(linear, 0.0)
    )
    decoded = [row.sequence for row in plan.rows if row.decodes]
    assert decoded == [0, 1, 30, 31]
    assert plan.rows[-1].sequence == 99
    assert plan.cut == {"flood"}
    everyone = plan_step(crowd, virtual, StepLimits(), StepCost(6.0, 1.0, 1.0))
    assert sum(row.decodes for row in everyone.rows) == 32


def test_prompts_of_who_is_cut_are_held_back() -> None:
    prompts = [Candidate(90 + number, "flood", 100) for number in range(3)]
    crowd = [*candidates(flood=30, a=2, b=2), *prompts, Candidate(99, "b", 40)]
    virtual = dict.fromkeys(("flood", "a", "b"), 0.0)
    limits, cost = StepLimits(step_seconds=200.0), StepCost(6.0, 1.0, 1.0)
    of_flood = []
    for turn in range(20):
        plan = plan_step(crowd, virtual, limits, cost, turn=turn, crowding=Crowding(linear, 0.0))
        counts = {row.sequence: row.count for row in plan.rows}
        assert counts[99] == 40
        of_flood.append(sum(counts.get(each.sequence, 0) for each in prompts))
    assert 0 < sum(rows > 0 for rows in of_flood) < 20
