"""`realm embed`: vectors for machines, a table for people."""

import json

import pytest


def test_json_has_one_vector_a_text(realm, model_file):
    outcome = realm("embed", "--model", model_file, "--text", "ab", "--text", "abc", "--json")
    assert outcome.code == 0
    document = json.loads(outcome.stdout)
    assert document["token_counts"] == [3, 4]
    assert document["pooling"] == "mean"
    assert document["normalized"] is True
    for vector in document["embeddings"]:
        assert sum(value * value for value in vector) == pytest.approx(1.0)


def test_pooling_and_length_can_be_chosen(realm, model_file):
    words = ["embed", "--model", model_file, "--text", "ab", "--json"]
    outcome = realm(*words, "--pooling", "last", "--no-normalize")
    assert json.loads(outcome.stdout)["embeddings"] == [[3.0, 4.0, 1.0]]


def test_the_table_compares_with_the_first_text(realm, model_file):
    outcome = realm("embed", "--model", model_file, "--text", "ab", "--text", "ab")
    assert outcome.code == 0
    rows = outcome.stdout.splitlines()
    assert len(rows) == 3
    assert rows[1] == rows[2]
    assert "1.0000" in rows[1]


def test_wrong_use_is_told(realm, model_file):
    assert realm("embed", "--model", model_file).code == 2
    assert realm("embed", "--model", model_file, "--text", "a", "--pooling", "cls").code == 2
