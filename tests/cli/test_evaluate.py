"""`realm eval perplexity`: the windows' rule and the figure."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.cli.perplexity import measure_perplexity, negative_log_likelihood, text_windows
from realm.errors import ConfigError


def test_uniform_model_has_the_vocabulary_as_perplexity(realm, model_file, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("a" * 100, encoding="utf-8")
    outcome = realm(
        "eval", "perplexity", "--model", model_file, "--file", text, "--context", 11, "--json"
    )
    document = json.loads(outcome.stdout)
    assert document["perplexity"] == pytest.approx(8.0)
    assert document["tokens"] == 100
    assert document["windows"] == 10


def test_windows_can_be_limited(realm, model_file, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("a" * 100, encoding="utf-8")
    words = ["eval", "perplexity", "--model", model_file, "--file", text, "--context", 11]
    outcome = realm(*words, "--max-windows", 3)
    assert outcome.stdout == "perplexity 8.0000 over 30 tokens\n"


def test_the_caches_precision_is_the_models(realm, model_file, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("a" * 100, encoding="utf-8")
    words = ["eval", "perplexity", "--model", model_file, "--file", text, "--json"]
    plain, narrow = (realm(*words, "--cache-precision", each) for each in ("float16", "int8"))
    assert json.loads(plain.stdout)["perplexity"] == pytest.approx(8.0)
    assert json.loads(narrow.stdout)["perplexity"] != pytest.approx(8.0)
    assert realm(*words, "--cache-precision", "int4").code == 2


@pytest.mark.parametrize("content", [b"", b"\xff\xfe"])
def test_file_that_cannot_be_scored_is_told(realm, model_file, tmp_path, content):
    text = tmp_path / "text.txt"
    text.write_bytes(content)
    outcome = realm("eval", "perplexity", "--model", model_file, "--file", text)
    assert outcome.code == 1
    assert outcome.stderr.startswith("error: ")


def test_file_that_is_not_there_is_told(realm, model_file, tmp_path):
    outcome = realm("eval", "perplexity", "--model", model_file, "--file", tmp_path / "no.txt")
    assert outcome.code == 1
    assert "no.txt" in outcome.stderr


@given(st.integers(0, 60), st.integers(2, 20), st.one_of(st.none(), st.just(99)))
def test_windows_cover_the_text_once(length, context, bos_id):
    ids = list(range(length))
    windows = list(text_windows(ids, context, bos_id))
    offset = 0 if bos_id is None else 1
    assert all(2 <= len(window) <= context for window in windows)
    assert all(window[:offset] == (bos_id,) * offset for window in windows)
    covered = [token for window in windows for token in window[offset:]]
    assert covered == ids[: len(covered)]
    assert length - len(covered) <= (1 if bos_id is None else 0)


def test_likelihood_agrees_with_the_definition():
    generator = np.random.default_rng(7)
    logits = generator.normal(0, 30, (70, 50)).astype(np.float32)
    window = generator.integers(0, 50, 70).tolist()
    expected = 0.0
    for row, target in zip(logits[:-1].astype(np.float64), window[1:], strict=True):
        expected -= row[target] - (row.max() + math.log(sum(np.exp(row - row.max()))))
    assert negative_log_likelihood(logits, window) == pytest.approx(expected, rel=1e-12)


def test_hopeless_model_is_infinitely_perplexed():
    logits = np.array([[0.0, -2000.0], [0.0, 0.0]], dtype=np.float32)
    result = measure_perplexity(lambda window: logits, [(0, 1)], lambda done: None)
    assert result.perplexity == math.inf


def test_nothing_to_score_is_an_error():
    with pytest.raises(ConfigError):
        measure_perplexity(lambda window: None, [], lambda done: None)
    with pytest.raises(ConfigError):
        list(text_windows([1, 2, 3], 1, 99))
