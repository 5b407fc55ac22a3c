"""Token buckets on a clock that the test sets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.server.front.token_bucket import TokenBucket


def test_a_full_minute_may_be_used_at_once_and_no_more():
    bucket = TokenBucket(60, now=0.0)
    for _ in range(60):
        assert bucket.wait_seconds(0.0) == 0.0
        bucket.take(1, 0.0)
    assert bucket.wait_seconds(0.0) == pytest.approx(1.0)
    assert bucket.wait_seconds(0.5) == pytest.approx(0.5)
    assert bucket.wait_seconds(1.0) == 0.0


def test_a_debt_is_paid_before_anything_else():
    bucket = TokenBucket(600, now=0.0)
    bucket.take(1200, 0.0)
    assert bucket.level(0.0) == -600
    assert bucket.wait_seconds(0.0) == pytest.approx(60.1)
    assert bucket.wait_seconds(60.2) == 0.0


def test_it_saves_up_for_a_minute_and_not_longer():
    bucket = TokenBucket(10, now=0.0)
    assert bucket.level(1e6) == 10


def test_a_higher_rate_holds_at_once_and_forgets_nothing():
    bucket = TokenBucket(10, now=0.0)
    bucket.take(10, 0.0)
    bucket.set_rate(100, 0.0)
    assert bucket.level(0.0) == 90


def test_a_lower_rate_holds_at_once():
    bucket = TokenBucket(1000, now=0.0)
    bucket.take(100, 0.0)
    bucket.set_rate(10, 0.0)
    assert bucket.level(0.0) == 10


def test_a_clock_that_stands_or_goes_back_gives_nothing():
    bucket = TokenBucket(10, now=5.0)
    bucket.take(10, 5.0)
    assert bucket.level(1.0) == 0
    bucket.take(1, 1.0)
    assert bucket.level(5.0) == -1


@given(
    st.integers(1, 10**6),
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 10**7)), max_size=30),
)
def test_waiting_as_long_as_was_said_is_exactly_enough(per_minute, uses):
    bucket = TokenBucket(per_minute, now=0.0)
    now = 0.0
    for pause, count in uses:
        now += pause
        wait = bucket.wait_seconds(now)
        assert wait >= 0.0
        if wait > 1e-3:
            assert bucket.wait_seconds(now + wait * 0.99) > 0.0
        assert bucket.wait_seconds(now + wait + 1e-6 * wait) == 0.0
        now += wait
        bucket.take(count, now)
