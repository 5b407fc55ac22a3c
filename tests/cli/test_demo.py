"""`realm demo`: the conversation, the table, and its failure without Paris."""

import json

import pytest


def demo(realm, model_file, *words):
    return realm("demo", "--model", model_file, *words)


def test_answers_and_table_are_shown(realm, runtime, model_file):
    runtime.answers = ["It is Paris.", "Rex is a dog.", "Rex.", "Good Rex."]
    outcome = demo(realm, model_file)
    assert outcome.code == 0
    for text in ("What is the capital of France?", "It is Paris.", "Rex is a dog.", "Good Rex."):
        assert text in outcome.stdout
    for title in ("Speed", "Memory", "Where the time went", "98.0 MB"):
        assert title in outcome.stdout


def test_every_turn_sees_the_turns_before(realm, runtime, model_file):
    demo(realm, model_file)
    assert [len(request["messages"]) for request in runtime.requests] == [2, 2, 4, 6]
    assert all(request["temperature"] == 0.0 for request in runtime.requests)
    assert not any(request.get("direct") for request in runtime.requests)


def test_answer_without_paris_fails(realm, runtime, model_file):
    runtime.answers = ["It is Lyon."]
    outcome = demo(realm, model_file)
    assert outcome.code == 1
    assert "does not name Paris" in outcome.stderr


def test_json_adds_the_parts_up(realm, model_file):
    outcome = demo(realm, model_file, "--json")
    document = json.loads(outcome.stdout)
    assert document["passed"] is True
    assert len(document["answers"]) == 4
    summary = document["summary"]
    assert summary["completion_tokens"] == 4 * len("Paris.")
    assert summary["decode_tokens"] == 4 * (len("Paris.") - 1)
    assert summary["decode_seconds"] == pytest.approx(4 * 0.25)
    assert summary["weights_bytes"] == 98_000_000
