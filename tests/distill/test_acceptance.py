"""Counting accepted drafts, against the definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.distill.acceptance import count_acceptance

_TEXTS = st.lists(st.lists(st.booleans(), max_size=12), max_size=6)


@given(_TEXTS, st.integers(1, 5))
def test_counts_agree_with_the_definition(texts, longest):
    found = count_acceptance([np.array(each, np.bool_) for each in texts], longest)
    places = sum(map(len, texts))
    for n in range(1, longest + 1):
        right = sum(
            len(text[at : at + n]) == n and all(text[at : at + n])
            for text in texts
            for at in range(len(text))
        )
        assert found.survival[n - 1] == pytest.approx(right / max(places, 1))
        assert found.accepted_length[n - 1] == pytest.approx(sum(found.survival[:n]))
    assert (found.places, found.agreement) == (places, found.survival[0])
