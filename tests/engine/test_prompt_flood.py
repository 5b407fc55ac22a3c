"""One owner's prompts without end beside owners that read answers, on a machine of made-up time."""

import dataclasses
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.engine.simulator import Simulator, Visit

from realm.engine.fairness import OwnerLedger
from realm.engine.scheduler import (
    MANY_STEPS,
    Candidate,
    StepCost,
    StepLimits,
    held_back,
    held_pause,
    plan_step,
)

HONEST = 8
LIMITS = StepLimits()
COST = StepCost(0.002, 0.0004, 0.0004)


def machine(rows: int, answers: int) -> float:
    """Seconds of a step as measured for SmolLM2 on two cores; rows above eight in small pieces."""
    small = 0.0004 if 8 < rows < 64 else 0.0
    return 0.003 + 0.00036 * rows + 0.0005 * answers + small * (rows - 8)


def reader(number: int) -> Visit:
    return Visit(f"honest-{number}", arrival=0, prompt=12, tokens=200)


def rate(seconds: float, flood: Callable[[], Visit] | None, lead: float = 0.0) -> float:
    """Tokens a second of the honest owners, once `lead` seconds have passed."""
    simulator = Simulator(2000, machine=machine, prefix_cache=False)
    tokens, started = 0, 0.0
    while simulator.seconds < lead + seconds:
        present = {each.visit.owner for each in simulator.open.values()}
        for number in range(HONEST):
            if f"honest-{number}" not in present:
                simulator.come(reader(number))
        if flood is not None and "flood" not in present:
            simulator.come(flood())
        if simulator.seconds < lead:
            tokens, started = 0, simulator.seconds
        simulator.step()
        tokens += sum(
            each.answered_at[-1:] == [simulator.steps] and each.visit.owner != "flood"
            for each in [*simulator.open.values(), *simulator.finished[-HONEST:]]
        )
    return tokens / (simulator.seconds - started)


@pytest.mark.parametrize("prompt", [9, 300, 3000])
def test_readers_keep_nine_tenths_beside_a_flood_of_prompts(prompt: int) -> None:
    quiet = rate(4.0, None, lead=1.0)
    beside = rate(4.0, lambda: Visit("flood", arrival=0, prompt=prompt, tokens=1), lead=4.0)
    assert beside >= 0.9 * quiet


def test_a_long_prompt_of_a_newcomer_is_not_held_back() -> None:
    """The first one, that is: it may lead by as many tokens at once."""
    simulator = Simulator(2000, machine=machine)
    for number in range(HONEST):
        simulator.come(reader(number))
    while simulator.seconds < 1.0:
        simulator.step()
    came, steps = simulator.seconds, simulator.steps
    newcomer = simulator.come(Visit("newcomer", arrival=0, prompt=1200, tokens=1))
    while not newcomer.answered_at:
        simulator.step()
    alone = machine(1200, 1)
    assert simulator.seconds - came < 2.5 * alone
    assert simulator.steps - steps < 20


def test_who_leads_the_others_is_held_back() -> None:
    virtual = {"ahead": 5000.0, "mean": 3000.0, "low": 1000.0}
    candidates = [Candidate(1, "low", 1), Candidate(2, "ahead", 50), Candidate(3, "mean", 50)]
    assert held_back(candidates, virtual, 2999.0) == {("ahead", 0)}
    assert held_back(candidates, virtual, 3000.0) == set()
    # Only those of its own priority and above count, for whose sake it may have to wait.
    below = [each._replace(priority=-1) for each in candidates[1:]]
    assert held_back([candidates[0], *below], virtual, 1000.0) == {("ahead", -1)}
    above = [each._replace(priority=1) for each in candidates[1:]]
    assert held_back([candidates[0], *above], virtual, 1999.0) == {("ahead", 1)}
    assert held_back([candidates[0], above[0]], virtual, 10.0) == set()


def test_nobody_is_held_back_for_its_own_sake() -> None:
    mine = [Candidate(1, "me", 1), Candidate(2, "me", 500)]
    assert not held_back(mine, {"me": 1e9}, 10.0)
    beside = Candidate(3, "other", 1)
    virtual = {"me": 1e9, "other": 1e9 - 11.0}
    assert held_back([*mine, beside], virtual, 10.0) == {("me", 0)}


@given(
    st.lists(
        st.builds(
            Candidate,
            st.integers(0, 99),
            st.sampled_from("abcd"),
            st.integers(1, 600),
            st.integers(-1, 1),
        ),
        min_size=1,
    ),
    st.fixed_dictionaries({owner: st.floats(0, 1e6) for owner in "abcd"}),
)
def test_somebody_is_always_served(candidates: list[Candidate], virtual: dict[str, float]) -> None:
    assert plan_step(candidates, virtual, LIMITS, COST, turn=1).token_count


def test_what_is_held_back_gets_half_an_equal_share_of_the_time() -> None:
    # Of 8.4 ms, for one beside eight others: a sixteenth, 1.3 rows; 100 in each 77th step.
    pauses = [held_pause(100, 1 / 8, 0.0084, LIMITS, COST, turn) for turn in range(154)]
    assert pauses == [0, *range(76, 0, -1), 0, *range(76, 0, -1)]
    assert held_pause(40, 1.0, 0.0532, LIMITS, COST, turn=3) == 0


def test_how_long_a_plan_stands() -> None:
    virtual = {"reader": 0.0, "flood": 9000.0}
    reader, flood = Candidate(1, "reader", 1), Candidate(2, "flood", 400)
    assert plan_step([reader], virtual, LIMITS, COST, turn=5).steps == MANY_STEPS
    turns = [plan_step([reader, flood], virtual, LIMITS, COST, turn=n) for n in range(100)]
    for plan, later in itertools.pairwise(turns):
        if plan.token_count > 1:
            assert plan.steps == 1
        else:
            assert (plan.steps == 1) == (later.token_count > 1)
            assert plan.steps == 1 or later.steps == plan.steps - 1
    assert max(plan.steps for plan in turns) > 4
    other = Candidate(3, "other", 1)
    few = dataclasses.replace(LIMITS, rows=1)
    both = plan_step([reader, other], {"reader": 0.0, "other": 0.0}, few, COST)
    assert both.steps == 1, "one of them is left out"


def test_others_prompts_go_first_and_the_held_back_come_to_an_end() -> None:
    virtual = {"reader": 0.0, "flood": 9000.0, "newcomer": 0.0}
    candidates = [
        Candidate(1, "reader", 1), Candidate(2, "flood", 500), Candidate(3, "newcomer", 40)
    ]  # fmt: skip
    served = []
    for turn in range(200):
        plan = plan_step(candidates, virtual, LIMITS, COST, turn=turn)
        assert [(row.sequence, row.count) for row in plan.rows[:2]] == [(1, 1), (3, 40)]
        served += [row.count for row in plan.rows[2:]]
    assert len(served) > 3
    alone = plan_step(candidates[1:2], virtual, LIMITS, COST, turn=1)
    assert alone.token_count == 500


def test_rows_that_delay_others_cost_more_than_rows_of_a_long_prompt() -> None:
    ledger = OwnerLedger(decode_cost=2.0)
    usual = COST.seconds(8 + 256, 8)
    assert ledger.prompt_price(8, 256, 8, usual, COST) == pytest.approx(2.5 * 16 * 0.4 / 8.4)
    # Eight rows deep in a long text took as long as all others, and cost 2.5 times as much.
    assert ledger.prompt_price(8, 8, 9, 2 * 0.0084, COST) == pytest.approx(5.0)
    assert ledger.prompt_price(8, 8, 9, 5.0, COST) == pytest.approx(
        2.5 * (2 * COST.seconds(16, 9) - 0.0084) / 0.0084 * 16 / 8
    )  # a stall of the machine is nobody's doing
    assert ledger.prompt_price(0, 256, 1, 0.1, COST) == 1.0
    assert ledger.prompt_price(8, 0, 8, 0.1, COST) == 1.0
    assert ledger.prompt_price(8, 8, 9, 0.0, StepCost()) == 1.0
