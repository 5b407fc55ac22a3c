"""Counting accepted drafts, against the definition; what is counted, against plain logits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tiny_model import TinyModel

from realm.distill.acceptance import LONGEST, count_acceptance, foretold
from realm.model import ModelStorage, match_draft


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    path = tmp_path_factory.mktemp("target") / "target.gguf"
    return ModelStorage(1).load(TinyModel(looks_back=False).write(path))


_ROW = st.lists(st.booleans(), min_size=LONGEST, max_size=LONGEST)
_TEXTS = st.lists(st.lists(_ROW, max_size=12), max_size=6)


@given(_TEXTS)
def test_counts_agree_with_the_definition(texts):
    found = count_acceptance([np.array(each, np.bool_).reshape(-1, LONGEST) for each in texts])
    places = sum(map(len, texts))
    for n in range(1, LONGEST + 1):
        right = sum(all(row[:n]) for text in texts for row in text)
        assert found.survival[n - 1] == pytest.approx(right / max(places, 1))
        assert found.accepted_length[n - 1] == pytest.approx(sum(found.survival[:n]))
    assert (found.places, found.agreement) == (places, found.survival[0])


def test_a_draft_that_reads_tokens_begins_before_each_of_them(target):
    draft = match_draft(target, target)
    tokens = np.array([3, 1, 4, 1, 5, 9, 2, 6], np.int32)
    likeliest = target.logits(tokens[:-1].tolist()).argmax(1)
    right = likeliest[2:] == tokens[3:]
    found = foretold(draft, tokens, 3)
    for place, row in enumerate(found):
        wanted = [place + ahead < 5 and right[place + ahead] for ahead in range(LONGEST)]
        assert row.tolist() == wanted


def test_a_draft_that_reads_features_is_always_right_about_its_like(target, tmp_path):
    path = TinyModel("realm-draft", looks_back=False).write(tmp_path / "draft.gguf")
    draft = match_draft(target, ModelStorage(1).load(path))
    tokens = [7, 3]
    for _ in range(9):
        tokens.append(int(target.logits(tokens)[-1].argmax()))
    features = target.features(tokens[:-1])[1:, None]
    found = foretold(draft, np.array(tokens, np.int32), 2, features)
    for place, row in enumerate(found):
        assert row.tolist() == [place > 0 and place + ahead < 9 for ahead in range(LONGEST)]
