"""What is learnt of drafts: it finds the truth, follows changes, and forgets what is old."""

import random

import pytest

from realm.engine.speculation import Calibration, Draft, Source, probability_grade
from realm.engine.speculation.draft import GRADE_COUNT


def draft_of(source: Source, *grades: int) -> Draft:
    return Draft(source, tuple(range(len(grades))), grades)


def feed(calibration: Calibration, source: Source, grade: int, chance: float, count: int) -> None:
    draw, draft = random.Random(3), draft_of(source, grade)
    for _ in range(count):
        calibration.observe(draft, int(draw.random() < chance), 1)


@pytest.mark.parametrize("chance", [0.02, 0.5, 0.95])
def test_the_chance_is_found(chance: float) -> None:
    calibration = Calibration()
    feed(calibration, Source.SUFFIX, 3, chance, 400)
    assert calibration.chance(Source.SUFFIX, 3) == pytest.approx(chance, abs=0.15)


def test_sources_are_told_apart() -> None:
    calibration, fresh = Calibration(), Calibration()
    feed(calibration, Source.SUFFIX, 3, 0.0, 50)
    for source in (Source.HISTORY, Source.MODEL):
        for grade in range(GRADE_COUNT):
            assert calibration.chance(source, grade) == fresh.chance(source, grade)


def test_grades_are_told_apart() -> None:
    calibration, bad, good = Calibration(), draft_of(Source.SUFFIX, 2), draft_of(Source.SUFFIX, 9)
    for _ in range(100):
        calibration.observe(bad, 0, 1)
        calibration.observe(good, 1, 1)
    assert calibration.chance(Source.SUFFIX, 2) < 0.1
    assert calibration.chance(Source.SUFFIX, 9) > 0.9


def test_grades_that_were_not_seen_follow_how_their_source_does() -> None:
    worse, better, fresh = Calibration(), Calibration(), Calibration()
    feed(worse, Source.SUFFIX, 2, 0.05, 100)
    feed(better, Source.SUFFIX, 2, 0.95, 100)
    for grade in (4, 12):
        prior = fresh.chance(Source.SUFFIX, grade)
        assert worse.chance(Source.SUFFIX, grade) < 0.5 * prior
        assert prior < better.chance(Source.SUFFIX, grade) < 1.0


def test_a_change_is_followed() -> None:
    calibration = Calibration()
    feed(calibration, Source.HISTORY, 5, 1.0, 1000)
    assert calibration.chance(Source.HISTORY, 5) > 0.95
    feed(calibration, Source.HISTORY, 5, 0.0, 100)
    assert calibration.chance(Source.HISTORY, 5) < 0.2


def test_a_source_that_was_given_up_is_tried_again() -> None:
    calibration = Calibration()
    feed(calibration, Source.MODEL, 12, 0.0, 100)
    given_up = calibration.chance(Source.MODEL, 12)
    feed(calibration, Source.SUFFIX, 2, 0.5, 4000)
    assert given_up < 0.1
    prior = Calibration().chance(Source.MODEL, 12)
    assert calibration.chance(Source.MODEL, 12) == pytest.approx(prior, abs=0.05)


def test_only_tokens_up_to_the_first_wrong_one_are_counted() -> None:
    calibration, fresh = Calibration(), Calibration()
    calibration.observe(draft_of(Source.SUFFIX, 1, 2, 3, 4), accepted=1, compared=4)
    assert calibration.chance(Source.SUFFIX, 1) > fresh.chance(Source.SUFFIX, 1)
    assert calibration.chance(Source.SUFFIX, 2) < fresh.chance(Source.SUFFIX, 2)
    for grade in (3, 4):
        assert calibration.chance(Source.SUFFIX, grade) == fresh.chance(Source.SUFFIX, grade)


def test_tokens_that_were_not_compared_are_not_counted() -> None:
    calibration, fresh = Calibration(), Calibration()
    calibration.observe(draft_of(Source.SUFFIX, 1, 2), accepted=1, compared=1)
    assert calibration.chance(Source.SUFFIX, 1) > fresh.chance(Source.SUFFIX, 1)
    assert calibration.chance(Source.SUFFIX, 2) == fresh.chance(Source.SUFFIX, 2)


def test_survival_is_the_product_and_never_increases() -> None:
    calibration = Calibration()
    draft = draft_of(Source.SUFFIX, *range(1, GRADE_COUNT), GRADE_COUNT - 1)
    survivals = calibration.survivals(draft)
    product = 1.0
    for grade, survival in zip(draft.grades, survivals, strict=True):
        product *= calibration.chance(Source.SUFFIX, grade)
        assert survival == product
    assert list(survivals) == sorted(survivals, reverse=True)


def test_every_chance_is_one_before_and_after_anything_was_seen() -> None:
    calibration = Calibration()
    for source in Source:
        for grade in range(GRADE_COUNT):
            assert 0.0 <= calibration.chance(source, grade) <= 1.0
            feed(calibration, source, grade, grade % 2, 30)
            assert 0.0 <= calibration.chance(source, grade) <= 1.0


def test_probabilities_become_grades_in_order() -> None:
    grades = [probability_grade(each / 100) for each in range(101)]
    assert grades == sorted(grades)
    assert (grades[0], grades[-1]) == (0, GRADE_COUNT - 1)
    calibration = Calibration()
    for probability in (0.1, 0.5, 0.9):
        chance = calibration.chance(Source.MODEL, probability_grade(probability))
        assert chance == pytest.approx(probability, abs=0.06)
