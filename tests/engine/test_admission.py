"""Who gets pages and who gives them up, on plain data."""

from hypothesis import given
from hypothesis import strategies as st

from realm.engine.admission import (
    Holder,
    Room,
    Waiting,
    least_entitled,
    plan_admission,
    plan_displacement,
)

HAD = {"a": 0.0, "b": 0.0, "c": 0.0}
WAITING = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(-1, 1), st.integers(1, 400), st.integers(0, 12)),
    max_size=20,
).map(
    lambda rows: [
        Waiting(i, owner, priority, i, tokens, pages)
        for i, (owner, priority, tokens, pages) in enumerate(rows)
    ]
)


def waiting(sequence: int, pages: int, owner: str = "a", passed: int = 0, **more: int) -> Waiting:
    priority = more.get("priority", 0)
    return Waiting(sequence, owner, priority, sequence, pages * 32, pages, passed)


@given(WAITING, st.integers(0, 40), st.integers(0, 8))
def test_admissions_leave_the_reserve(line: list[Waiting], free: int, reserve: int) -> None:
    plan = plan_admission(line, HAD, Room(free, reserve, 100))
    by_number = {each.sequence: each for each in line}
    taken = sum(by_number[number].pages for number in plan.admitted)
    assert taken <= max(0, free - reserve)
    assert len(set(plan.admitted)) == len(plan.admitted)
    if plan.blocked is not None:
        assert plan.blocked.sequence not in plan.admitted
        assert plan.blocked.pages > 0


def test_one_that_fits_may_pass_one_that_does_not_but_not_for_ever() -> None:
    line = [waiting(1, 50), waiting(2, 4), waiting(3, 4)]
    plan = plan_admission(line, HAD, Room(10, 0, passing_pages=100))
    assert (plan.admitted, plan.passed_pages) == ((2, 3), 8)
    assert plan.blocked == line[0]
    tired = [waiting(1, 50, passed=95), *line[1:]]
    assert plan_admission(tired, HAD, Room(10, 0, passing_pages=100)).admitted == (2,)
    exhausted = [waiting(1, 50, passed=100), *line[1:]]
    assert plan_admission(exhausted, HAD, Room(10, 0, passing_pages=100)).admitted == ()


def test_an_admitted_prompt_counts_for_its_owner_at_once() -> None:
    line = [waiting(1, 3), waiting(2, 3), waiting(3, 3, owner="b")]
    assert plan_admission(line, HAD, Room(6, 0, 100)).admitted == (1, 3)
    had, heavy = {"a": 0.0, "b": 50.0}, {"a": 3.0}  # 96 tokens weigh 32
    assert plan_admission(line, had, Room(6, 0, 100), weights=heavy).admitted == (1, 2)


def test_prompts_do_not_pile_up_but_no_owner_waits_for_another() -> None:
    line = [waiting(1, 1), waiting(2, 1), waiting(3, 1, owner="b")]
    room = Room(100, 0, 100, prompt_rows=512, prompt_limit=512)
    assert plan_admission(line, HAD, room, busy_owners=["a"]).admitted == (3,)


def test_higher_priorities_go_first() -> None:
    line = [waiting(1, 5), waiting(2, 5, priority=2), waiting(3, 5, owner="b", priority=1)]
    assert plan_admission(line, HAD, Room(10, 0, 100)).admitted == (2, 3)


def holder(sequence: int, owner: str = "a", priority: int = 0, served: int = 0) -> Holder:
    return Holder(sequence, owner, priority, sequence, served, pages=4)


def test_pages_are_taken_from_the_least_entitled() -> None:
    had = {"a": 5000.0, "b": 100.0}
    line = [holder(1, "b"), holder(2, "a"), holder(3, "a"), holder(4, "b", priority=-1)]
    order = []
    while (loser := least_entitled(line, had, 1000.0)) is not None:
        order.append(loser.sequence)
        line.remove(loser)
    assert order == [4, 3, 2, 1]
    near = {"a": 900.0, "b": 100.0}  # closer than the lag: the latest loses
    assert least_entitled([holder(1, "a"), holder(2, "b")], near, 1000.0) == holder(2, "b")
    assert least_entitled([], near, 1000.0) is None


def test_who_may_displace_whom() -> None:
    had = {"a": 0.0, "b": 2000.0}
    claimant = waiting(9, 8)

    def chosen(holders: list[Holder], shortage: int = 4) -> tuple[int, ...]:
        return plan_displacement(claimant, holders, had, 1000.0, shortage)

    assert chosen([holder(1, priority=-1)]) == (1,)
    assert chosen([holder(1, priority=1)]) == ()
    assert chosen([holder(1, "b")]) == (1,)
    assert chosen([holder(1, "a", served=1000)]) == ()
    assert chosen([holder(1, "a", served=1001)]) == (1,)
    # Nobody is disturbed when it would not be enough.
    assert chosen([holder(1, "b"), holder(2, "a")], shortage=5) == ()
    assert chosen([holder(1, "b"), holder(2, "b")], shortage=5) == (2, 1)
