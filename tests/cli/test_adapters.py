"""`realm adapters`: add, list, show, remove, and what is refused."""

import json

import pytest
from attacks.adapters import files as f
from tests.tiny_model import HIDDEN, LAYERS, TinyModel

QUERIES = 6 * 32


@pytest.fixture
def model(tmp_path):
    return TinyModel().write(tmp_path / "tiny.gguf")


@pytest.fixture
def adapter(tmp_path):
    tensors = {}
    for layer in range(LAYERS):
        stem = f"{f.PREFIX}{layer}.self_attn.q_proj.lora_"
        tensors[stem + "A.weight"] = f.matrix(f.RANK, HIDDEN)
        tensors[stem + "B.weight"] = f.matrix(QUERIES, f.RANK)
    config = f.config(target_modules=["q_proj"])
    return f.write_folder(tmp_path / "pirate", config, f.safetensors(tensors))


@pytest.fixture
def adapters(realm, tmp_path):
    def call(*words):
        return realm("adapters", *words, "--adapters-directory", tmp_path / "kept")

    return call


def test_add_list_show_remove(adapters, model, adapter):
    added = adapters("add", "pirate", adapter, "--model", model)
    assert added.code == 0, added.stderr
    assert added.stdout.startswith("added pirate: ")
    listed = adapters("list").stdout.splitlines()
    assert listed[1].split()[:3] == ["pirate", "llama", "4"]
    shown = adapters("show", "pirate").stdout
    assert "changes" in shown
    assert "query" in shown
    assert adapters("remove", "pirate").stdout.startswith("removed pirate: ")
    assert adapters("show", "pirate").code == 1


def test_json(adapters, model, adapter):
    added = json.loads(adapters("add", "p", adapter, "--model", model, "--json").stdout)
    assert added["projections"] == ["query"]
    assert added["parameter_count"] == LAYERS * f.RANK * (HIDDEN + QUERIES)
    listed = json.loads(adapters("list", "--json").stdout)
    assert [each["digest"] for each in listed["adapters"]] == [added["digest"]]
    assert json.loads(adapters("show", "p", "--json").stdout) == added
    assert json.loads(adapters("remove", "p", "--json").stdout)["name"] == "p"


def test_an_adapter_of_another_model(adapters, model, tmp_path):
    path = f.write_folder(tmp_path / "other", f.config(), f.safetensors(f.tensors()))
    outcome = adapters("add", "other", path, "--model", model)
    assert outcome.code == 1
    assert "of the base has 96 inputs" in outcome.stderr
