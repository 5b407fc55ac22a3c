"""Drafts from a sequence's own tokens."""

from hypothesis import given
from hypothesis import strategies as st

from realm.engine.speculation import MATCH_TOKENS, Draft, Source, SuffixDraft


def propose(suffix: SuffixDraft, count: int) -> Draft | None:
    found = suffix.match()
    return None if found is None or count < 1 else suffix.copy(found, count)


def after(text: list[int], count: int, token_limit: int = 16384) -> Draft | None:
    suffix = SuffixDraft(token_limit)
    suffix.extend(text)
    return propose(suffix, count)


def test_what_followed_before_is_proposed() -> None:
    draft = after([1, 2, 3, 4, 5, 6, 2, 3], 2)
    assert draft == Draft(Source.SUFFIX, (4, 5), (2, 3))


def test_a_text_without_repetition_has_no_draft() -> None:
    assert after([1, 2, 3, 4], 4) is None
    assert after([], 4) is None
    assert after([1, 1], 0) is None


def test_a_copy_that_runs_into_the_end_repeats() -> None:
    draft = after([9, 1, 2, 3, 1, 2, 3], 8)
    assert draft is not None
    assert draft.token_ids == (1, 2, 3, 1, 2, 3, 1, 2)
    assert after([5, 5], 3) == Draft(Source.SUFFIX, (5, 5, 5), (1, 2, 3))


def test_grades_end_at_the_longest_match_that_is_told_apart() -> None:
    draft = after([4] * 40, 3)
    assert draft is not None
    assert draft.grades == (MATCH_TOKENS,) * 3


@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(1, 12))
def test_a_draft_has_as_many_tokens_as_asked_and_copies_behind_its_match(
    text: list[int], count: int
) -> None:
    suffix = SuffixDraft()
    suffix.extend(text)
    found, draft = suffix.match(), propose(suffix, count)
    assert (found is None) == (draft is None) == (text[-1] not in text[:-1])
    if found is not None and draft is not None:
        assert len(draft) == len(draft.grades) == count
        assert draft.grades[0] == found.length
        # With its own continuation appended the text repeats itself from the match on.
        longer = text + list(draft.token_ids)
        assert list(draft.token_ids) == longer[found.position : found.position + count]


@given(st.lists(st.lists(st.integers(0, 5), max_size=50), max_size=12), st.floats(0, 1))
def test_memory_is_bounded_and_the_newest_tokens_are_kept(
    parts: list[list[int]], share: float
) -> None:
    limit, suffix, text, kept = 64, SuffixDraft(64), [], []
    for part in parts:
        suffix.extend(part)
        text += part
        kept = list(suffix._index.tokens)
        assert len(kept) <= limit
        assert kept == text[len(text) - len(kept) :]
        assert len(kept) >= min(len(text), limit // 2)
        assert len(suffix) == len(text)
    length = int(share * len(text))
    suffix.truncate(length)
    assert len(suffix) == length
    assert suffix._index.tokens == text[:length][len(text) - len(kept) :]
    suffix.extend([1, 2])
    assert suffix._index.tokens[-2:] == [1, 2]
