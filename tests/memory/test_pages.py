"""Page numbers and their reference counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.errors import CapacityError
from realm.memory import PageAllocator


def test_pages_come_back_when_the_last_reference_goes() -> None:
    pages = PageAllocator(2)
    first = pages.allocate()
    pages.share(first)
    assert pages.is_shared(first)
    assert not pages.release(first)
    assert pages.release(first)
    assert pages.free_count == 2


def test_a_full_pool_refuses() -> None:
    pages = PageAllocator(1)
    pages.allocate()
    with pytest.raises(CapacityError, match="all 1 cache pages"):
        pages.allocate()


@given(st.lists(st.sampled_from(["allocate", "share", "release"]), max_size=200))
def test_counts_hold_under_any_order(actions: list[str]) -> None:
    pages = PageAllocator(5)
    held: list[int] = []
    for action in actions:
        if action == "allocate" and pages.free_count:
            page = pages.allocate()
            assert page not in held
            held.append(page)
        elif action == "share" and held:
            pages.share(held[0])
            held.append(held[0])
        elif action == "release" and held:
            page = held.pop()
            assert pages.release(page) == (page not in held)
        assert pages.free_count == 5 - len(set(held))
