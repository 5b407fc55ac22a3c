"""The index against the plain meaning of it, through any history of growing and shrinking."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.errors import NativeError
from realm.kernels import MATCH_TOKENS, TokenIndex

TOKENS = st.lists(st.integers(0, 3), max_size=40)
PLACES = 8
SEPARATOR = -1

Match = tuple[int, int]  # the position behind it, its length


def plain_length(text: list[int], position: int, tail: list[int]) -> int:
    """How many tokens before `position` are those at the end of `tail`."""
    length = 0
    while length < min(position, len(tail), MATCH_TOKENS):
        if text[position - 1 - length] != tail[-1 - length]:
            break
        length += 1
    return length


def plain_find(text: list[int], tail: list[int], places: int = PLACES) -> Match | None:
    """Among the latest places of the tail's last pair, else of its last token, the longest matches;
    of these one with the commonest next token, then the latest."""
    lengths = [(plain_length(text, each, tail), each) for each in range(len(text) - 1, 0, -1)]
    for least in (2, 1):
        latest = [each for each in lengths if each[0] >= least][:places]
        latest = [(least if least == 1 else length, at) for length, at in latest]
        latest = [each for each in latest if text[each[1]] != SEPARATOR]
        if latest:
            longest = max(length for length, _ in latest)
            following = [text[at] for length, at in latest if length == longest]
            votes = Counter(following)
            chosen = next(each for each in following if votes[each] == max(votes.values()))
            return next(
                (at, length) for length, at in latest if length == longest and text[at] == chosen
            )
    return None


def longest_suffix_before(text: list[int]) -> int:
    """By definition: the longest end of the text that stands in it before, cut at MATCH_TOKENS."""
    for length in range(min(len(text) - 1, MATCH_TOKENS), 0, -1):
        tail = text[-length:]
        if any(text[begin : begin + length] == tail for begin in range(len(text) - length)):
            return length
    return 0


def index_of(text: list[int]) -> TokenIndex:
    index = TokenIndex()
    index.extend(text)
    return index


@given(TOKENS)
def test_finds_what_a_plain_search_finds(text: list[int]) -> None:
    assert index_of(text).find(text) == plain_find(text, text)


@given(TOKENS, st.lists(st.integers(0, 3), max_size=20))
def test_finds_the_end_of_another_text(text: list[int], tail: list[int]) -> None:
    found = index_of([*text, SEPARATOR]).find(tail)
    assert found == (plain_find([*text, SEPARATOR], tail) if tail else None)


@given(st.lists(st.integers(0, 9), max_size=60))
def test_the_length_is_that_of_the_longest_match_while_a_pair_has_few_places(
    text: list[int],
) -> None:
    pair = text[-2:]
    places = sum(text[begin : begin + 2] == pair for begin in range(max(len(text) - 2, 0)))
    if places <= PLACES:
        found = index_of(text).find(text)
        assert (found[1] if found else 0) == longest_suffix_before(text)


@settings(max_examples=60)
@given(st.lists(st.one_of(TOKENS, st.floats(0, 1)), max_size=12))
def test_growing_and_shrinking_leaves_what_growing_alone_does(
    changes: list[list[int] | float],
) -> None:
    index, text = TokenIndex(), []
    for change in changes:
        if isinstance(change, float):
            length = int(change * len(text))
            index.truncate(length)
            del text[length:]
        else:
            index.extend(change)
            text += change
        assert index.tokens == text
        fresh = index_of(text)
        for tail in (text, *([one, other] for one in range(4) for other in range(4)), [0], [3]):
            assert index.find(tail) == fresh.find(tail)


def test_of_equal_matches_the_latest_is_found() -> None:
    text = [7, 1, 2, 5, 7, 1, 2, 6, 7, 1, 2]
    assert index_of(text).find(text) == (7, 3)


def test_of_equal_matches_most_have_their_way() -> None:
    text = [1, 2, 5, 3, 1, 2, 6, 4, 1, 2, 5, 7, 1, 2, 6, 8, 1, 2, 5, 9, 1, 2, 0, 10, 1, 2]
    assert index_of(text).find(text) == (18, 2)  # the latest of three places before 5


def test_an_end_of_a_text_is_no_place() -> None:
    index = index_of([1, 2, 3, SEPARATOR, 4, 1, 2, SEPARATOR])
    assert index.find([1, 2]) == (2, 2)
    assert index.find([4, 1, 2]) == (2, 2)
    assert index_of([1, 2, SEPARATOR]).find([1, 2]) is None


def test_a_longer_match_beats_a_later_one() -> None:
    text = [7, 1, 2, 5, 8, 1, 2, 6, 7, 1, 2]
    assert index_of(text).find(text) == (3, 3)


def test_many_tokens_that_come_and_go_are_found() -> None:
    index = TokenIndex()
    for begin in range(0, 40_000, 1000):
        index.extend(range(begin, begin + 1000))
        index.truncate(len(index) - 900)
    assert len(index) == 4000
    for begin in range(0, 40_000, 1000):
        assert index.find([begin + 3, begin + 4]) == (begin // 10 + 5, 2)
        assert index.find([begin + 500]) is None
    index.truncate(-5)
    assert index.tokens == []


@pytest.mark.parametrize("token", [-2, 2**31 - 1])
def test_what_is_no_token_is_refused(token: int) -> None:
    index = index_of([1, 2])
    for call in (index.extend, index.find):
        with pytest.raises(NativeError):
            call([1, token])
    assert index.tokens == [1, 2]


def test_nothing_is_found_in_nothing_and_for_nothing() -> None:
    assert TokenIndex().find([1, 2]) is None
    assert index_of([1, 2, 1]).find([]) is None
    index = index_of([1, 2, 1])
    index.clear()
    assert index.find([1]) is None
    assert len(index) == 0
