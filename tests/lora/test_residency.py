"""The plan of what is in memory, by itself."""

import random

from realm.lora.residency import ResidencyPlan, Resident, Wanted, plan_residency


def resident(key: str, size: int, *, users: int = 0, pinned: bool = False, used: int = 0):
    return Resident(key, size, users, pinned, used)


def plan(budget: int, residents: list, wanted: list, *, reserved: int = 0) -> ResidencyPlan:
    return plan_residency(budget, reserved, residents, wanted, patience=3)


def test_free_memory_first() -> None:
    decided = plan(10, [resident("a", 4)], [Wanted("b", 6, 0)])
    assert decided == ResidencyPlan((), ("b",), frozenset())


def test_the_longest_unused_goes_and_no_more_than_needed() -> None:
    residents = [resident("new", 4, used=9), resident("old", 3, used=1), resident("mid", 3, used=5)]
    assert plan(10, residents, [Wanted("b", 3, 0)]).evict == ("old",)
    assert plan(10, residents, [Wanted("b", 4, 0)]).evict == ("old", "mid")


def test_used_and_pinned_stay() -> None:
    residents = [resident("used", 5, users=1), resident("pinned", 5, pinned=True)]
    decided = plan(10, residents, [Wanted("b", 1, 0)])
    assert decided == ResidencyPlan((), (), frozenset())


def test_nothing_is_evicted_for_what_does_not_fit_anyway() -> None:
    residents = [resident("used", 8, users=1), resident("idle", 2)]
    assert plan(10, residents, [Wanted("b", 5, 0)]).evict == ()


def test_loads_that_have_begun_hold_their_room() -> None:
    assert plan(10, [], [Wanted("b", 5, 0)], reserved=6).load == ()
    assert plan(10, [], [Wanted("b", 4, 0), Wanted("c", 1, 0)], reserved=6).load == ("b",)


def test_a_smaller_one_may_pass_until_patience_ends() -> None:
    residents = [resident("used", 8, users=2)]
    wanted = [Wanted("large", 6, 2), Wanted("small", 2, 0)]
    assert plan(10, residents, wanted).load == ("small",)
    wanted = [Wanted("large", 6, 3), Wanted("small", 2, 0)]
    decided = plan(10, residents, wanted)
    assert decided.load == ()
    assert decided.closed == {"used"}


def test_no_more_are_closed_than_needed_and_never_pinned_ones() -> None:
    residents = [
        resident("pinned", 2, users=1, pinned=True),
        resident("old", 3, users=1, used=1),
        resident("older", 3, users=1, used=0),
        resident("idle", 2),
    ]
    decided = plan(10, residents, [Wanted("b", 5, 3)])
    assert decided.closed == {"older", "idle"}


def test_a_smaller_budget_is_reached_as_far_as_it_can() -> None:
    residents = [resident("used", 6, users=1), resident("a", 3, used=1), resident("b", 3, used=2)]
    assert plan(9, residents, []).evict == ("a",)
    assert plan(1, residents, []).evict == ("a", "b")


def test_any_plan_is_within_the_budget() -> None:
    chance = random.Random(5)
    loads = closed = 0
    for _ in range(2_000):
        residents = [
            resident(
                f"r{index}",
                chance.randrange(1, 9),
                users=chance.choice((0, 0, 1, 3)),
                pinned=chance.random() < 0.2,
                used=chance.randrange(100),
            )
            for index in range(chance.randrange(6))
        ]
        held = sum(each.byte_size for each in residents)
        budget = held + chance.randrange(6)
        wanted = [Wanted(f"w{i}", chance.randrange(1, 12), chance.randrange(6)) for i in range(3)]
        decided = plan(budget, residents, wanted)
        sizes = {each.key: each.byte_size for each in [*residents, *wanted]}
        after = held - sum(sizes[k] for k in decided.evict) + sum(sizes[k] for k in decided.load)
        assert after <= budget
        kept = {each.key for each in residents if each.user_count or each.is_pinned}
        assert not kept & set(decided.evict)
        assert not decided.closed & {each.key for each in residents if each.is_pinned}
        loads += len(decided.load)
        closed += bool(decided.closed)
    assert loads > 500
    assert closed > 100
