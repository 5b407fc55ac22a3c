"""The scheduler's decisions, on plain data."""

from hypothesis import given
from hypothesis import strategies as st

from realm.engine.scheduler import Candidate, plan_step

CANDIDATES = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(1, 600)), min_size=1, max_size=40
).map(lambda rows: [Candidate(index, *row) for index, row in enumerate(rows)])


@given(CANDIDATES, st.integers(0, 1000), st.integers(1, 512), st.integers(1, 128))
def test_a_plan_fits_its_limits(
    candidates: list[Candidate], turn: int, step_tokens: int, chunk_tokens: int
) -> None:
    plan = plan_step(candidates, turn, step_tokens, min(chunk_tokens, step_tokens))
    pending = {each.sequence: each.pending for each in candidates}
    assert 0 < plan.token_count <= step_tokens
    assert len({row.sequence for row in plan.rows}) == len(plan.rows)
    for row in plan.rows:
        assert 0 < row.count <= pending[row.sequence]
        assert row.completes == (row.count == pending[row.sequence])


@given(CANDIDATES, st.integers(0, 1000))
def test_nobody_starves(candidates: list[Candidate], turn: int) -> None:
    waiting = {each.sequence: each for each in candidates}
    total = sum(each.pending for each in candidates)
    for step in range(total):
        if not waiting:
            break
        for row in plan_step(list(waiting.values()), turn + step, 16, 4).rows:
            each = waiting.pop(row.sequence)
            if not row.completes:
                left = each.pending - row.count
                waiting[row.sequence] = Candidate(each.sequence, each.owner, left)
    assert not waiting


def test_decoding_goes_before_prompts_and_shrinks_their_chunks() -> None:
    candidates = [Candidate(1, "a", 500), Candidate(2, "b", 1)]
    plan = plan_step(candidates, 0, 512, 64)
    assert [(row.sequence, row.count) for row in plan.rows] == [(2, 1), (1, 64)]
    alone = plan_step(candidates[:1], 0, 512, 64)
    assert [(row.sequence, row.count) for row in alone.rows] == [(1, 500)]


def test_owners_take_turns() -> None:
    candidates = [Candidate(index, "greedy", 1) for index in range(10)]
    candidates.append(Candidate(99, "modest", 1))
    for turn in range(10):
        rows = plan_step(candidates, turn, 2, 1).rows
        assert 99 in {row.sequence for row in rows}
