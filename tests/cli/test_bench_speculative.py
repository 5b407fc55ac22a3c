"""`realm bench speculative`: what it asks for, what it prints, and a text that must not change."""

import json

import pytest

from realm.engine import SpeculationMetrics
from realm.engine.speculation import Source, SourceCounts

WORDS = ("bench", "speculative", "--prompts", 1, "--repeats", 1, "--workload", "edit")


def test_it_prints_what_drafts_did(realm, runtime, model_file):
    counts = SourceCounts(drafted=10, accepted=6, lengths=(1, 0, 3))
    runtime.speculation = SpeculationMetrics({Source.SUFFIX: counts})
    outcome = realm(*WORDS, "--model", model_file, "--draft", "d.gguf", "--draft-k", 4, "--json")
    assert outcome.code == 0
    document = json.loads(outcome.stdout)
    assert document["tokens_per_second"] == pytest.approx(5 / 0.25)
    assert document["gains"] == pytest.approx([1.0])
    assert (document["drafted"], document["accepted"]) == (10, 6)
    assert document["accepted_length"] == 1.5
    assert document["by_source"]["suffix"]["lengths"] == [1, 0, 3]
    assert [each["draft_k"] for each in runtime.requests] == [0, 0, 4]
    assert len({each["tenant"] for each in runtime.requests}) == 3, "none has another's history"
    assert all(str(each.draft_model_path) == "d.gguf" for each in runtime.configurations.values())


def test_a_text_that_changes_is_an_error(realm, runtime, model_file):
    runtime.answers = ["Paris.", "Paris.", "Rome.."]
    outcome = realm(*WORDS, "--model", model_file)
    assert outcome.code == 1
    assert "a draft changed a text" in outcome.stderr


def test_a_table(realm, model_file):
    outcome = realm(*WORDS, "--model", model_file)
    assert outcome.code == 0
    assert "gain" in outcome.stdout and "1.00" in outcome.stdout
