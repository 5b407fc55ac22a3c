"""`realm distill`: a draft of a tiny random model, made and used."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from tests.tiny_model import VOCABULARY, TinyModel

from realm.errors import DraftMismatchError
from realm.gguf import open_gguf
from realm.kernels.dequantize import dequantize
from realm.model import ModelStorage, match_draft

_SMALL = (
    *("--tokens", 400, "--answer-tokens", 16, "--at-once", 8, "--vocabulary", 120),
    *("--passes", 1.5, "--batch-tokens", 512, "--learning-rate", 0.01, "--threads", 1),
)


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return TinyModel().write(tmp_path_factory.mktemp("target") / "target.gguf")


def test_draft_is_made_the_same_again_and_fits_its_target(realm, target, tmp_path):
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    words = ["distill", "--model", target, *_SMALL, "--corpus", tmp_path / "said.npz"]
    told = realm(*words, "--output", first)
    assert (told.code, told.stderr.count("listening"), told.stderr.count("measuring")) == (0, 1, 1)
    assert "loss" in told.stderr
    assert "held out: agreement" in told.stdout
    again = realm(*words, "--output", second, "--json")
    document = json.loads(again.stdout)
    assert again.stderr == ""
    storage = ModelStorage(1)
    draft = match_draft(storage.load(target), storage.load(first))
    assert draft.stored.hyperparameters.layer_count == 1
    assert draft.stored.hyperparameters.vocabulary_size == 120
    assert sorted(draft.to_target)[0] == -1
    assert draft.from_target[VOCABULARY - 1] != draft.from_target[draft.to_target[:-1].max() - 1]
    tensors = [_tensors(each) for each in (first, second)]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(np.array_equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    survival = document["held_out"]["survival"]
    assert survival == sorted(survival, reverse=True)
    assert document["held_out"]["agreement"] == survival[0]
    assert document["file_bytes"] == second.stat().st_size


def test_draft_of_another_vocabulary_is_refused(realm, target, tmp_path):
    draft = tmp_path / "draft.gguf"
    assert realm("distill", "--model", target, *_SMALL, "--output", draft).code == 0
    storage = ModelStorage(1)
    other = TinyModel(block_type="Q8_0").write(tmp_path / "other.gguf")
    match_draft(storage.load(other), storage.load(draft))  # other weights, the same tokens
    with pytest.raises(DraftMismatchError):
        match_draft(storage.load(draft), storage.load(draft))


def test_target_of_another_architecture_gets_a_draft_too(realm, tmp_path):
    target = TinyModel("gemma3").write(tmp_path / "target.gguf")
    draft = tmp_path / "draft.gguf"
    words = ("--from-layers", "0,-1", "--tied", "--block-type", "F16", "--precision", "float32")
    assert realm("distill", "--model", target, *_SMALL, *words, "--output", draft).code == 0
    storage = ModelStorage(1)
    found = match_draft(storage.load(target), storage.load(draft))
    assert found.stored.hyperparameters.architecture == "realm-draft"
    assert found.stored.hyperparameters.layer_count == 2


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--passes", "nan"), "passes"),
        (("--passes", 0), "passes"),
        (("--learning-rate", -1), "learning rate"),
        (("--temperature", "inf"), "temperature"),
        (("--greedy-share", 1.5), "greedy_share"),
        (("--own-share", -0.5), "own_share"),
        (("--from-layers", 3), "layers"),
        (("--vocabulary", 2), "do not hold"),
        (("--answer-tokens", 16, "--tokens", 1, "--at-once", 1), "one answer"),
    ],
)
def test_options_that_cannot_be_are_told(realm, target, tmp_path, words, reason):
    output = tmp_path / "draft.gguf"
    outcome = realm("distill", "--model", target, *_SMALL, "--output", output, *words)
    assert outcome.code == 1
    assert reason in outcome.stderr
    assert list(tmp_path.iterdir()) == []


def test_output_without_a_folder_is_told_before_anything_is_done(realm, target, tmp_path):
    output = tmp_path / "no" / "draft.gguf"
    outcome = realm("distill", "--model", target, *_SMALL, "--output", output)
    assert (outcome.code, "listening" in outcome.stderr) == (1, False)
    assert "no folder" in outcome.stderr


def test_corpus_that_is_none_is_told(realm, target, tmp_path):
    corpus = tmp_path / "said.npz"
    corpus.write_bytes(b"PK\x03\x04 no archive")
    words = ("--corpus", corpus, "--output", tmp_path / "draft.gguf")
    outcome = realm("distill", "--model", target, *_SMALL, *words)
    assert outcome.code == 1
    assert "no saved corpus" in outcome.stderr


def test_corpora_that_keep_different_things_are_told(realm, target, tmp_path):
    corpora = [tmp_path / "one.npz", tmp_path / "two.npz"]
    words = ("--corpus", corpora[0], "--output", tmp_path / "draft.gguf")
    assert realm("distill", "--model", target, *_SMALL, *words).code == 0
    with np.load(corpora[0]) as file:
        arrays = dict(file)
    for name in ("top_tokens", "top_logprobs"):
        arrays[name] = arrays[name][:, :-1]
    np.savez(corpora[1], **arrays)
    words = ("--corpus", *corpora, "--output", tmp_path / "draft.gguf")
    outcome = realm("distill", "--model", target, *_SMALL, *words)
    assert outcome.code == 1
    assert "different numbers of likeliest tokens" in outcome.stderr


@pytest.mark.parametrize("name", ["torch", "gguf"])
def test_missing_package_is_named(realm, target, tmp_path, monkeypatch, name):
    for module in [each for each in sys.modules if each.startswith("realm.distill")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, name, None)
    outcome = realm("distill", "--model", target, "--output", tmp_path / "draft.gguf")
    assert outcome.code == 1
    assert f"needs {name}" in outcome.stderr


def _tensors(path):
    with open_gguf(path) as file:
        return {name: np.array(file.tensor_data(name)) for name in file.tensors}


def test_an_earlier_draft_goes_on(realm, target, tmp_path):
    """With its tokens and weights, on two corpora, and reading features of layers as well."""
    corpora = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for seed, corpus in enumerate(corpora):
        words = ("--corpus", corpus, "--seed", seed, "--feature-layers", "2,0")
        draft = tmp_path / f"{seed}.gguf"
        assert realm("distill", "--model", target, *_SMALL, *words, "--output", draft).code == 0
    longer, other = tmp_path / "longer.gguf", tmp_path / "other.gguf"
    both = ("--corpus", *corpora, "--from-draft", tmp_path / "0.gguf", "--learning-rate", 1e-9)
    words = (*both, "--feature-layers", "2,0,1")
    outcome = realm("distill", "--model", target, *_SMALL, *words, "--output", longer)
    assert outcome.code == 1 and "no features of layers [1]" in outcome.stderr
    words = (*both, "--feature-layers", "2,0")
    assert realm("distill", "--model", target, *_SMALL, *words, "--output", longer).code == 0
    storage = ModelStorage(1)
    first, second = (
        match_draft(storage.load(target), storage.load(each))
        for each in (tmp_path / "0.gguf", longer)
    )
    assert second.stored.hyperparameters.feature_layers == (2, 0)
    assert np.array_equal(first.to_target, second.to_target)
    before, after = (_numbers(each) for each in (tmp_path / "0.gguf", longer))
    assert before.keys() == after.keys() >= {"feature.0.weight", "feature.1.weight"}
    for name, values in before.items():  # hardly taught, and written again as Q4_1
        assert np.abs(after[name] - values).max() <= 0.05 * np.abs(values).max() > 0.0
    outcome = realm("distill", "--model", target, *_SMALL, *both, "--output", other)
    assert outcome.code == 1 and "reads features of layers (2, 0)" in outcome.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--from-layers", "0", "--tied"), "would be left out"),
        (("--from-layers", "0"), "blk.1.attn_k.weight would be left out"),
        (("--from-layers", "0,0", "--tied"), "output.weight would be left out"),
        (("--from-layers", "0,0,1"), "blk.2.attn_norm.weight is not there"),
    ],
)
def test_a_draft_that_cannot_go_on_is_told_first(realm, target, tmp_path, words, reason):
    earlier, output = tmp_path / "earlier.gguf", tmp_path / "draft.gguf"
    made = realm("distill", "--model", target, *_SMALL, "--from-layers", "0,0", "--output", earlier)
    assert made.code == 0
    words = ("--from-draft", earlier, *words, "--output", output)
    outcome = realm("distill", "--model", target, *_SMALL, *words)
    assert (outcome.code, "listening" in outcome.stderr) == (1, False)
    assert reason in outcome.stderr
    assert not output.exists()


def _numbers(path):
    with open_gguf(path) as file:
        return {
            name: dequantize(file.tensor_data(name), info.block_type, info.shape)
            for name, info in file.tensors.items()
        }
