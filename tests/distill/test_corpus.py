"""What is kept of a target's answers: the same after saving, and nothing else is taken for it."""

from dataclasses import replace

import numpy as np
import pytest

from realm.distill.corpus import Text, join_texts, load_corpus
from realm.errors import ConfigError

_VOCABULARY = 50
LAYERS = [4, 1]


@pytest.fixture
def texts():
    generator = np.random.default_rng(3)
    made = []
    for prompt, output in ((3, 1), (1, 7), (5, 4)):
        made.append(
            Text(
                generator.integers(0, _VOCABULARY, prompt + output).astype(np.int32),
                prompt,
                generator.integers(0, _VOCABULARY, (output, 2)).astype(np.int32),
                generator.standard_normal((output, 2)).astype(np.float16),
                generator.standard_normal((output, 3, 6)).astype(np.float16),
                output == 7,
            )
        )
    return made


def test_texts_come_back(texts, tmp_path):
    path = tmp_path / "said.npz"
    join_texts(texts, LAYERS).save(path)
    corpus = load_corpus(path, _VOCABULARY)
    assert (len(corpus), corpus.output_count) == (3, 12)
    for before, after in zip(texts, corpus.texts(), strict=True):
        assert np.array_equal(before.tokens, after.tokens)
        assert np.array_equal(before.output, after.output)
        assert np.array_equal(before.top_tokens, after.top_tokens)
        assert np.array_equal(before.top_logprobs, after.top_logprobs)
        assert np.array_equal(before.features, after.features)
        assert before.greedy == after.greedy


@pytest.mark.parametrize(
    "name",
    ["tokens", "begins", "output_begins", "top_tokens", "features", "greedy", "feature_layers"],
)
def test_arrays_that_do_not_fit_are_refused(texts, tmp_path, name):
    corpus = join_texts(texts, LAYERS)
    path = tmp_path / "said.npz"
    replace(corpus, **{name: getattr(corpus, name)[:-1]}).save(path)
    with pytest.raises(ConfigError, match="do not fit"):
        load_corpus(path, _VOCABULARY)


def test_tokens_of_another_vocabulary_are_refused(texts, tmp_path):
    path = tmp_path / "said.npz"
    corpus = join_texts(texts, LAYERS)
    corpus.save(path)
    with pytest.raises(ConfigError, match="none of the target's"):
        load_corpus(path, int(corpus.tokens.max()))


def test_array_of_a_wrong_kind_is_refused(texts, tmp_path):
    path = tmp_path / "said.npz"
    corpus = join_texts(texts, LAYERS)
    replace(corpus, begins=corpus.begins.astype(str)).save(path)
    with pytest.raises(ConfigError):
        load_corpus(path, _VOCABULARY)


def test_nothing_said_is_an_error():
    with pytest.raises(ConfigError):
        join_texts([], ())


def test_features_of_some_layers(texts):
    corpus = join_texts(texts, LAYERS)
    assert corpus.with_layers(LAYERS) is corpus
    chosen = corpus.with_layers([1])
    assert chosen.feature_layers.tolist() == [1]
    assert np.array_equal(chosen.features, corpus.features[:, [0, 2]])
    assert corpus.with_layers([]).features.shape == (12, 1, 6)
    with pytest.raises(ConfigError, match=r"no features of layers \[2\], it has \[4, 1\]"):
        corpus.with_layers([1, 2])
