"""Thousands of sessions against the scheduler: nobody starves, shares are fair, pages add up."""

import random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.engine.simulator import COST, Simulator, Visit

VISITS = st.lists(
    st.builds(
        Visit,
        owner=st.sampled_from("abcd"),
        arrival=st.integers(0, 60),
        prompt=st.integers(1, 260),
        tokens=st.integers(1, 70),
        priority=st.integers(-1, 1),
        leaves_after=st.none() | st.integers(0, 50),
        shared=st.sampled_from([0, 31, 64, 100]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(VISITS, st.integers(1, 30), st.booleans(), st.sampled_from([1, 40, 4096]))
def test_everyone_comes_to_an_end_and_no_page_is_lost(
    visits: list[Visit], page_count: int, prefix_cache: bool, lag: int
) -> None:
    simulator = Simulator(
        page_count,
        prefix_cache=prefix_cache,
        displacement_tokens=lag,
        step_tokens=64,
        prefill_chunk_tokens=32,
    )
    simulator.run(visits, most_steps=20_000)
    for each in simulator.finished:
        assert each.produced == each.visit.tokens
    for each in simulator.refused:
        assert len(each.sequence.tokens) > page_count * 32
    stayed = [each for each in visits if each.leaves_after is None]
    assert len(simulator.finished) + len(simulator.refused) >= len(stayed)
    assert not simulator.state.has_work
    assert simulator.cache.free_page_count == page_count
    simulator.cache.forget_prefixes()
    assert simulator.cache.kept_page_count == 0
    assert all(cell is None for cells in simulator.pool.cells for cell in cells)


def crowd(count: int, seed: int, owners: int = 16) -> list[Visit]:
    draw = random.Random(seed)
    return [
        Visit(
            f"tenant-{draw.randrange(owners)}",
            arrival=draw.randrange(4 * count),
            prompt=int(draw.lognormvariate(4.2, 0.9)) + 1,
            tokens=int(draw.lognormvariate(3.2, 0.8)) + 1,
            priority=draw.choice([0, 0, 0, 1]),
            leaves_after=draw.randrange(200) if draw.random() < 0.15 else None,
            shared=draw.choice([0, 64]),
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("page_count", [60, 400])
def test_two_thousand_sessions(page_count: int) -> None:
    simulator = Simulator(page_count, displacement_tokens=512)
    simulator.run(crowd(2000, seed=page_count))
    for each in simulator.refused:
        assert len(each.sequence.tokens) > page_count * 32
    assert len(simulator.refused) < 20
    gaps = sorted(
        later - earlier
        for each in simulator.finished
        for earlier, later in zip(each.answered_at, each.answered_at[1:], strict=False)
    )
    # A session that runs is computed in every step; only who lost pages waits longer.
    assert gaps[len(gaps) // 2] == 1
    assert gaps[int(len(gaps) * 0.99)] <= (1 if page_count == 400 else 40)
    if page_count == 60:
        assert simulator.state.preemption_count > 0
    assert simulator.cache.prefix_hit_count > 0


def test_owners_that_always_want_more_are_served_by_weight() -> None:
    weights = {"light": 1.0, "heavy": 3.0}
    simulator = Simulator(
        64, weights=weights, displacement_tokens=256, step_tokens=128, prefill_chunk_tokens=64
    )
    visits = [
        Visit(owner, arrival=0, prompt=200, tokens=30) for owner in weights for _ in range(400)
    ]
    for each in visits:
        simulator.come(each)
    begin = dict.fromkeys(weights, 0.0)
    spreads = []
    for step in range(600):
        simulator.step()
        if step == 100:
            begin = dict(simulator.ledger.virtual)
        spreads.append(abs(simulator.ledger.virtual["light"] - simulator.ledger.virtual["heavy"]))
    # At most: the lag, a step for one of them, and one session that may not be disturbed.
    assert max(spreads) <= 256 + 128 + 200 + 2 * 30
    had = {o: (simulator.ledger.virtual[o] - begin[o]) * w for o, w in weights.items()}
    assert had["heavy"] / had["light"] == pytest.approx(3.0, rel=0.15)


def test_an_owner_with_one_session_does_not_wait_for_an_owner_with_hundreds() -> None:
    simulator = Simulator(200)
    for _ in range(300):
        simulator.come(Visit("greedy", arrival=0, prompt=300, tokens=100))
    for _ in range(50):
        simulator.step()
    modest = simulator.come(Visit("modest", arrival=0, prompt=100, tokens=3))
    begin = simulator.ledger.virtual["greedy"]
    while modest not in simulator.finished:
        simulator.step()
    # Its prompt goes first, and pages are made for it once the other is ahead by the lag.
    lag = simulator.config.displacement_tokens
    assert simulator.ledger.virtual["greedy"] - begin <= lag + 5 * simulator.limits.rows


def test_endless_sessions_do_not_keep_an_owner_out() -> None:
    simulator = Simulator(20, displacement_tokens=128, context_length=640)
    for _ in range(4):
        simulator.come(Visit("endless", arrival=0, prompt=100, tokens=10**6))
    late = simulator.come(Visit("late", arrival=0, prompt=500, tokens=20))
    while late not in simulator.finished:
        simulator.step()
        assert simulator.steps < 1500
    assert simulator.state.preemption_count > 0


def test_a_large_one_is_not_passed_for_ever() -> None:
    simulator = Simulator(20, displacement_tokens=10**6)
    large = None
    for step in range(3000):
        if step % 3 == 0:
            simulator.come(Visit("small", arrival=0, prompt=60, tokens=12))
        if step == 30:
            large = simulator.come(Visit("small", arrival=0, prompt=500, tokens=2))
        simulator.step()
        if large in simulator.finished:
            break
    assert large in simulator.finished


def test_steps_stay_within_the_latency_target_while_prompts_arrive() -> None:
    simulator = Simulator(4000, step_seconds=0.03)
    decoded = 0
    for step in range(200):
        simulator.come(Visit(f"owner-{step % 5}", arrival=0, prompt=400, tokens=40))
        before = simulator.seconds
        simulator.step()
        seconds = simulator.seconds - before
        if step:
            alone = COST.fixed_seconds + COST.row_seconds * simulator.decoded
            assert seconds <= max(0.03, 1.25 * alone, alone + 16 * COST.row_seconds) + 1e-9
        decoded += simulator.decoded
    assert decoded > 500
