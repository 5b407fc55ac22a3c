"""How much more than it seems drafts must bring."""

from realm.engine.speculation import Payback

PLAIN, ANSWERS = 0.004, 16


def after(tokens: float, seconds: float, steps: int = 200) -> Payback:
    """Steps with drafts that took so long and brought so many tokens an answer."""
    payback = Payback()
    payback.observe(ANSWERS, PLAIN)
    for _ in range(steps):
        payback.observe(ANSWERS, seconds, round((tokens - 1) * ANSWERS))
    return payback


def test_nothing_is_demanded_before_a_step() -> None:
    assert Payback().demand == 1.0


def test_what_pays_is_not_hindered() -> None:
    assert after(3.0, 2 * PLAIN).demand == 1.0
    assert after(1.5, 1.5 * PLAIN).demand == 1.0


def test_what_costs_more_than_it_brings_must_bring_more() -> None:
    assert 1.1 < after(1.25, 1.5 * PLAIN).demand < 1.2
    assert after(1.0, 2 * PLAIN).demand == 1.5, "but not everything"


def test_it_takes_several_steps() -> None:
    assert after(1.25, 1.5 * PLAIN, steps=1).demand < 1.06


def test_it_is_forgotten_while_nothing_is_drafted() -> None:
    payback = after(1.25, 1.5 * PLAIN)
    demand = payback.demand
    for _ in range(2000):
        payback.observe(ANSWERS, PLAIN)
    assert payback.demand < 1.0 + (demand - 1.0) / 8


def test_steps_of_other_sizes_are_no_measure() -> None:
    payback = Payback()
    payback.observe(1, PLAIN / 4)
    payback.observe(ANSWERS, 9 * PLAIN, 0)
    assert payback.demand == 1.0


def test_what_drafts_are_worth() -> None:
    assert Payback().worth == 0.0
    assert 0.9 < after(3.0, 1.5 * PLAIN).worth <= 1.0
    assert after(1.25, 1.5 * PLAIN).worth < 0.0
    payback = after(3.0, 1.5 * PLAIN)
    for _ in range(200):
        payback.observe(ANSWERS, PLAIN)
    assert payback.worth < 0.01
