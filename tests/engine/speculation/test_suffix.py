"""Drafts from a sequence's own tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.errors import NativeError
from realm.kernels import MATCH_TOKENS, SequenceTexts, TokenIndex

EVEN = [0.5] * (MATCH_TOKENS + 1)
Draft = tuple[tuple[int, ...], tuple[int, ...]]  # tokens, grades


def texts_of(text: list[int], token_limit: int = 16384) -> SequenceTexts:
    texts = SequenceTexts(token_limit, True, TokenIndex())
    texts.match(text)
    return texts


def after(text: list[int], count: int) -> Draft | None:
    found = texts_of(text).propose(EVEN, EVEN, count)
    if found is None:
        return None
    assert found[0] == 0
    return found[1:]


def test_what_followed_before_is_proposed() -> None:
    assert after([1, 2, 3, 4, 5, 6, 2, 3], 2) == ((4, 5), (2, 3))


def test_a_text_without_repetition_has_no_draft() -> None:
    assert after([1, 2, 3, 4], 4) is None
    assert after([], 4) is None


def test_a_copy_that_runs_into_the_end_repeats() -> None:
    draft = after([9, 1, 2, 3, 1, 2, 3], 8)
    assert draft is not None
    assert draft[0] == (1, 2, 3, 1, 2, 3, 1, 2)
    assert after([5, 5], 3) == ((5, 5, 5), (1, 2, 3))


def test_grades_end_at_the_longest_match_that_is_told_apart() -> None:
    draft = after([4] * 40, 3)
    assert draft is not None
    assert draft[1] == (MATCH_TOKENS,) * 3


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(1, 12))
def test_a_draft_has_as_many_tokens_as_asked_and_copies_behind_its_match(
    text: list[int], count: int
) -> None:
    index, draft = TokenIndex(), after(text, count)
    index.extend(text)
    found = index.find(text)
    assert (found is None) == (draft is None) == (text[-1] not in text[:-1])
    if found is not None and draft is not None:
        tokens, grades = draft
        assert len(tokens) == len(grades) == count
        assert grades[0] == found[1]
        # With its own continuation appended the text repeats itself from the match on.
        longer = text + list(tokens)
        assert list(tokens) == longer[found[0] : found[0] + count]


@given(st.lists(st.lists(st.integers(0, 5), max_size=50), max_size=12), st.floats(0, 1))
def test_memory_is_bounded_and_the_newest_tokens_are_kept(
    parts: list[list[int]], share: float
) -> None:
    limit, texts, text, kept = 64, texts_of([], 64), [], []
    for part in parts:
        text += part
        texts.match(text)
        kept = texts.tokens
        assert len(kept) <= limit
        assert kept == text[len(text) - len(kept) :]
        assert len(kept) >= min(len(text), limit // 2)
        assert len(texts) == len(text)
    length = int(share * len(text))
    texts.truncate(length)
    assert len(texts) == length
    assert texts.tokens == text[:length][len(text) - len(kept) :]
    texts.match([*text[:length], 1, 2])
    assert texts.tokens[-2:] == [1, 2]


def test_what_is_no_longer_text_or_no_draft_is_refused() -> None:
    texts = texts_of([1, 2, 1])
    for call in (
        lambda: texts.match([1, 2]),
        lambda: texts.match([1, 2, 1, -1]),
        lambda: texts.match([1, 2, 1, 1 << 31]),
        lambda: texts.propose(EVEN, EVEN, 0),
        lambda: texts.propose(EVEN[1:], EVEN, 1),
        lambda: texts.propose(EVEN, [], 1),
    ):
        with pytest.raises(NativeError):
            call()
    with pytest.raises(TypeError):
        texts.match([1, 2, 1, "a"])  # type: ignore[list-item]
    assert texts.tokens == [1, 2, 1]
