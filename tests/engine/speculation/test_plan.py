"""The choice of drafts against every other choice there is."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from realm.engine.speculation import DraftCandidate, DraftLimits, RowCost, plan_drafts

LIMITS = DraftLimits(rows=64, least_gain=1.0)


def knee(rows: int) -> float:
    """A machine that computes up to ten rows in the time of one."""
    return max(1.0, rows / 10)


def even(rows: int) -> float:
    """A machine on which every row costs the same: no draft pays."""
    return float(rows)


def survivals(chances: list[float]) -> tuple[float, ...]:
    result, survival = [], 1.0
    for chance in chances:
        survival *= chance
        result.append(survival)
    return tuple(result)


CANDIDATES = st.lists(
    st.lists(st.floats(0, 1), min_size=1, max_size=3).map(survivals), min_size=1, max_size=4
).map(lambda each: [DraftCandidate(10 + i, s) for i, s in enumerate(each)])
COSTS = st.lists(st.floats(0.2, 5.0), min_size=24, max_size=24)


def rate(
    counts: tuple[int, ...], candidates: list[DraftCandidate], costs: list[float], rows: int
) -> float:
    worth = rows + sum(
        sum(each.survivals[:count]) for each, count in zip(candidates, counts, strict=True)
    )
    return worth / costs[rows + sum(counts)]


@settings(max_examples=200)
@given(CANDIDATES, COSTS, st.integers(0, 4))
def test_no_other_choice_brings_more(
    candidates: list[DraftCandidate], costs: list[float], others: int
) -> None:
    rows = len(candidates) + others
    plan = plan_drafts(candidates, costs.__getitem__, LIMITS, decode_rows=rows)
    chosen = tuple(plan.get(each.sequence, 0) for each in candidates)
    best = max(
        rate(counts, candidates, costs, rows)
        for counts in product(*(range(len(each.survivals) + 1) for each in candidates))
    )
    assert rate(chosen, candidates, costs, rows) >= best * (1 - 1e-12)
    assert all(plan.values())


@given(CANDIDATES, COSTS, st.integers(0, 10), st.floats(1.0, 1.5))
def test_limits_hold_and_a_plan_is_never_worse_than_none(
    candidates: list[DraftCandidate], costs: list[float], rows: int, least_gain: float
) -> None:
    plan = plan_drafts(
        candidates,
        costs.__getitem__,
        DraftLimits(rows, least_gain),
        decode_rows=len(candidates),
    )
    assert sum(plan.values()) <= rows
    chosen = tuple(plan.get(each.sequence, 0) for each in candidates)
    none = rate((0,) * len(candidates), candidates, costs, len(candidates))
    if any(chosen):
        assert rate(chosen, candidates, costs, len(candidates)) > least_gain * none


@given(CANDIDATES)
def test_nothing_is_drafted_where_every_row_costs_the_same(
    candidates: list[DraftCandidate],
) -> None:
    limits = DraftLimits(least_gain=1.0 + 1e-9)
    assert plan_drafts(candidates, even, limits, decode_rows=len(candidates)) == {}


def test_no_candidate_no_question_about_cost() -> None:
    asked: list[int] = []

    def seconds(rows: int) -> float:
        asked.append(rows)
        return 1.0

    assert plan_drafts([], seconds, LIMITS, decode_rows=5) == {}
    assert not asked


def test_free_rows_are_filled_with_the_likeliest_tokens() -> None:
    candidates = [
        DraftCandidate(1, survivals([0.9] * 8)),
        DraftCandidate(2, survivals([0.5] * 8)),
        DraftCandidate(3, survivals([0.01] * 8)),
    ]
    plan = plan_drafts(candidates, knee, LIMITS, decode_rows=3)
    assert plan == {1: 6, 2: 1}


def test_a_full_step_drafts_only_what_is_nearly_sure() -> None:
    sure = DraftCandidate(1, survivals([1.0, 0.5]))
    unsure = DraftCandidate(2, survivals([0.9, 0.9]))
    # 16 rows on a machine whose rows beyond ten each cost a tenth of a step: 0.94 to break even.
    costs = {rows: 0.6 + 0.0625 * rows for rows in range(40)}
    plan = plan_drafts([sure, unsure], costs.__getitem__, LIMITS, decode_rows=16)
    break_even = 0.0625 * 16 / costs[16]
    assert 0.5 < break_even < 0.81
    assert plan == {1: 1, 2: 2}
    assert plan_drafts([sure, unsure], even, LIMITS, decode_rows=16) == {}


def test_prompt_rows_are_worth_something_too() -> None:
    # With a prompt in the step a decoded token must bring more than the prompt's rows would.
    candidate = DraftCandidate(1, survivals([0.4]))
    costs = {rows: 1.0 + 0.02 * rows for rows in range(300)}
    alone = plan_drafts([candidate], costs.__getitem__, LIMITS, decode_rows=1)
    assert alone == {1: 1}
    beside = plan_drafts([candidate], costs.__getitem__, LIMITS, decode_rows=1, prompt_rows=256)
    assert beside == {}


def test_no_draft_makes_a_step_longer_that_the_rows_of_prompts_fill() -> None:
    candidate = DraftCandidate(1, survivals([0.95]))
    assert plan_drafts([candidate], even, LIMITS, decode_rows=4, prompt_rows=60) == {}


def test_the_same_question_has_the_same_answer() -> None:
    candidates = [DraftCandidate(number, survivals([0.8] * 6)) for number in range(6)]
    cost = RowCost({1: 0.003})
    limits = DraftLimits(rows=7)
    plans = [plan_drafts(candidates, cost.seconds, limits, decode_rows=6) for _ in range(3)]
    assert plans[0] == plans[1] == plans[2]
    # Of tokens that are equally likely the first of each sequence come first, then by the order.
    assert list(plans[0]) == sorted(plans[0])


def test_an_odd_count_of_rows_that_is_slow_is_passed_over() -> None:
    times = {1: 1.0, 2: 1.4, 3: 1.7, 4: 1.2, 5: 1.9}
    candidate = DraftCandidate(1, survivals([0.6, 0.6, 0.6, 0.6]))
    plan = plan_drafts([candidate], times.__getitem__, LIMITS, decode_rows=1)
    assert plan == {1: 3}
