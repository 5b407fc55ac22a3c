"""The scheduler's decisions, on plain data."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.engine.scheduler import Candidate, StepCost, StepLimits, plan_step, prompt_budget

UNKNOWN = StepCost()
CANDIDATES = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 600), st.integers(-1, 1)),
    min_size=1,
    max_size=40,
).map(lambda rows: [Candidate(i, *row, arrival=i) for i, row in enumerate(rows)])
VIRTUAL = st.fixed_dictionaries({owner: st.floats(0, 1e6) for owner in "abc"})


@given(CANDIDATES, VIRTUAL, st.integers(1, 512), st.integers(1, 128), st.floats(0, 1e-3))
def test_a_plan_fits_its_limits(
    candidates: list[Candidate],
    virtual: dict[str, float],
    rows: int,
    chunk_rows: int,
    row_seconds: float,
) -> None:
    limits = StepLimits(rows, min(rows, chunk_rows))
    cost = StepCost(0.002, row_seconds)
    plan = plan_step(candidates, virtual, limits, cost)
    pending = {each.sequence: each.pending for each in candidates}
    assert 0 < plan.token_count <= rows
    assert len({row.sequence for row in plan.rows}) == len(plan.rows)
    for row in plan.rows:
        assert 0 < row.count <= pending[row.sequence]
        assert row.completes == (row.count == pending[row.sequence])
    decoding = sum(pending[row.sequence] == 1 for row in plan.rows)
    assert decoding == min(rows, sum(each.pending == 1 for each in candidates))
    assert plan.token_count - decoding <= prompt_budget(decoding, limits, cost)


@given(CANDIDATES, VIRTUAL)
def test_everybody_of_one_priority_comes_to_an_end(
    candidates: list[Candidate], virtual: dict[str, float]
) -> None:
    waiting = {each.sequence: each._replace(priority=0) for each in candidates}
    had = dict(virtual)
    total = sum(each.pending for each in candidates)
    for _ in range(total):
        if not waiting:
            break
        for row in plan_step(list(waiting.values()), had, StepLimits(16, 4), UNKNOWN).rows:
            each = waiting.pop(row.sequence)
            had[each.owner] += row.count
            if not row.completes:
                waiting[row.sequence] = each._replace(pending=each.pending - row.count)
    assert not waiting


def test_decoding_goes_before_prompts_and_shrinks_their_chunks() -> None:
    candidates = [Candidate(1, "a", 500), Candidate(2, "b", 1)]
    had = {"a": 0.0, "b": 0.0}
    plan = plan_step(candidates, had, StepLimits(512, 64), UNKNOWN)
    assert [(row.sequence, row.count) for row in plan.rows] == [(2, 1), (1, 64)]
    alone = plan_step(candidates[:1], had, StepLimits(512, 64), UNKNOWN)
    assert [(row.sequence, row.count) for row in alone.rows] == [(1, 500)]


@pytest.mark.parametrize(
    ("decoding", "cost", "expected"),
    [
        (0, StepCost(0.01, 0.001), 512),  # nobody decodes: nobody is delayed
        (10, UNKNOWN, 502),
        (10, StepCost(0.01, 0.001), 30),  # 50 ms: 10 fixed, 10 for those that decode
        (60, StepCost(0.01, 0.001), 17),  # over it already: a quarter as long again
        (20, StepCost(0.01, 0.0005, 0.0005), 40),  # 10 ms are fixed, 20 for those that decode
        (2, StepCost(0.0, 0.024), 16),
        (505, StepCost(0.01, 0.001), 7),
    ],
)
def test_prompts_get_what_the_latency_target_leaves(
    decoding: int, cost: StepCost, expected: int
) -> None:
    assert prompt_budget(decoding, StepLimits(step_seconds=0.05), cost) == expected


def test_a_higher_priority_comes_first_and_then_who_had_least() -> None:
    candidates = [
        Candidate(1, "rich", 8, priority=0, arrival=1),
        Candidate(2, "poor", 8, priority=0, arrival=2),
        Candidate(3, "rich", 8, priority=1, arrival=3),
    ]
    plan = plan_step(candidates, {"rich": 50.0, "poor": 0.0}, StepLimits(20, 20), UNKNOWN)
    assert [(row.sequence, row.count) for row in plan.rows] == [(3, 8), (2, 8), (1, 4)]


def test_rows_of_this_step_count_already() -> None:
    candidates = [Candidate(index, "many", 10, arrival=index) for index in range(9)]
    candidates.append(Candidate(99, "few", 10, arrival=99))
    plan = plan_step(candidates, {"many": 0.0, "few": 5.0}, StepLimits(20, 20), UNKNOWN)
    assert [row.sequence for row in plan.rows] == [0, 99]


def test_more_decode_rows_than_a_step_takes_go_to_who_had_least() -> None:
    candidates = [Candidate(index, "greedy", 1, arrival=index) for index in range(10)]
    candidates.append(Candidate(99, "modest", 1, arrival=99))
    had = {"greedy": 1.0, "modest": 0.0}
    rows = plan_step(candidates, had, StepLimits(2, 1), UNKNOWN).rows
    assert [row.sequence for row in rows] == [99, 0]


@given(st.lists(st.floats(0.25, 8), min_size=2, max_size=5), st.integers(1, 300))
def test_owners_that_always_want_prompts_get_rows_by_weight(
    shares: list[float], chunk_rows: int
) -> None:
    weights = {f"owner-{index}": share for index, share in enumerate(shares)}
    candidates = [Candidate(i, owner, 10**9) for i, owner in enumerate(weights)]
    virtual: dict[str, float] = defaultdict(float, dict.fromkeys(weights, 0.0))
    limits = StepLimits(300, chunk_rows)
    for _ in range(60):
        for row in plan_step(candidates, virtual, limits, UNKNOWN, weights).rows:
            owner = candidates[row.sequence].owner
            virtual[owner] += row.count / weights[owner]
        # The bound of Sheng et al. (OSDI 2024): what one round may give to one owner.
        assert max(virtual.values()) - min(virtual.values()) <= 300 / min(shares) + 1e-6


def test_a_row_may_cost_next_to_nothing() -> None:
    cost = StepCost(0.001, 2.2e-313)
    assert prompt_budget(1, StepLimits(rows=64, chunk_rows=32), cost) == 63
