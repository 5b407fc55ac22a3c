"""Steps that look for no drafts."""

from itertools import pairwise

from realm.engine.speculation import DraftRest


def looks(rest: DraftRest, steps: int, paid: bool) -> list[int]:
    """The steps, of so many, in which drafts are looked for and are found to pay, or not."""
    found = []
    for step in range(steps):
        if rest.is_over():
            found.append(step)
            rest.note(paid)
    return found


def test_every_step_looks_while_drafts_pay() -> None:
    assert looks(DraftRest(), 50, paid=True) == list(range(50))


def test_the_longer_none_pays_the_fewer_steps_look() -> None:
    assert looks(DraftRest(), 60, paid=False) == [
        0, 1, 2, 3, 5, 7, 9, 11, 15, 19, 23, 27, 35, 43, 51, 59,
    ]  # fmt: skip


def test_a_rest_stays_bounded() -> None:
    found = looks(DraftRest(), 2_000, paid=False)
    assert max(later - earlier for earlier, later in pairwise(found)) == 16


def test_one_that_pays_ends_the_rest() -> None:
    rest = DraftRest()
    looks(rest, 500, paid=False)
    while not rest.is_over():
        pass
    rest.note(True)
    assert looks(rest, 4, paid=False) == [0, 1, 2, 3]
