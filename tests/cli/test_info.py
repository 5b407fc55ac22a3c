"""`realm info`: a file's facts and the machine's."""

import json

import numpy as np
import pytest

import gguf


@pytest.fixture
def written_file(tmp_path):
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny")
    writer.add_block_count(3)
    writer.add_embedding_length(64)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(["a", "b", "c"])
    writer.add_chat_template("{{ messages }}")
    writer.add_tensor("one", np.zeros((4, 64), dtype=np.float32))
    writer.add_tensor("two", np.zeros((2, 64), dtype=np.float16))
    writer.add_tensor("three", np.zeros((2, 64), dtype=np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_json_tells_what_the_header_says(realm, written_file):
    document = json.loads(realm("info", "--model", written_file, "--json").stdout)
    model = document["model"]
    assert (model["name"], model["architecture"]) == ("Tiny", "llama")
    assert model["hyperparameters"] == {"block_count": 3, "embedding_length": 64}
    assert model["tensors"] == {
        "count": 3,
        "by_block_type": {
            "F32": {"count": 1, "size_bytes": 1024},
            "F16": {"count": 2, "size_bytes": 512},
        },
    }
    assert model["tokenizer"] == {
        "model": "gpt2", "pre": "smollm", "tokens": 3, "chat_template": True,
    }  # fmt: skip
    assert model["size_bytes"] == written_file.stat().st_size
    assert document["machine"]["instruction_set"] == "fake"


def test_text_for_people(realm, written_file):
    text = realm("info", "--model", written_file, "--threads", 3).stdout
    assert "gpt2 smollm, 3 tokens, with a chat template" in text
    assert "block_count" in text
    assert "F16" in text
    assert "Machine" in text


def test_machine_alone(realm):
    assert "instruction_set  fake" in realm("info").stdout


def test_file_that_is_no_model_is_told(realm, tmp_path):
    path = tmp_path / "no.gguf"
    path.write_bytes(b"hello, world" * 10)
    outcome = realm("info", "--model", path)
    assert outcome.code == 1
    assert str(path) in outcome.stderr
