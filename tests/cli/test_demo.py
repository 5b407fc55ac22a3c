"""`realm demo`: conversation, table, drafts, the three voices, and when it fails."""

import json
from pathlib import Path

import pytest

from realm.cli.drafts import REQUEST, answer_twice, draft_file
from realm.cli.voices import QUESTION, adapter_folder, ask_voices
from realm.config import EngineConfig, ModelConfig
from realm.engine import SpeculationMetrics
from realm.engine.speculation import Source, SourceCounts
from realm.errors import AdapterMismatchError, DraftMismatchError, NotSupportedError
from realm.runtime import RuntimeManager

VOICES = ("pirate", "json", "sql")
LARGEST_BYTES = 1_000_000


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
    assert [len(request["messages"]) for request in runtime.requests[:4]] == [2, 2, 4, 6]
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


def test_one_answer_comes_without_drafts_and_with_them(realm, runtime, model_file):
    counts = SourceCounts(drafted=9, accepted=7, lengths=(0, 1, 0, 2))
    runtime.speculation = SpeculationMetrics({Source.SUFFIX: counts})
    runtime.answers = ["Paris."] * 4 + ["Ida and Tom."]
    outcome = demo(realm, model_file)
    plain, drafted = runtime.requests[4:6]
    assert (plain["draft_k"], drafted["draft_k"]) == (0, None)
    assert plain["messages"] == drafted["messages"]
    assert plain["messages"][0]["content"].endswith(REQUEST)
    shown = " ".join(outcome.stdout.split())
    for text in ("Ida and Tom.", "1.00 times as fast", "7 tokens of 9", "suffix 2.3 a draft"):
        assert text in shown


def test_changed_text_fails(realm, runtime, model_file):
    runtime.answers = ["Paris."] * 4 + ["Ida and Tom.", "Ida and Tim."]
    outcome = demo(realm, model_file)
    assert outcome.code == 1
    assert "a draft changed a text" in outcome.stderr


def test_json_shows_the_drafts(realm, runtime, model_file):
    counts = SourceCounts(drafted=9, accepted=7, lengths=(0, 1, 0, 2))
    runtime.speculation = SpeculationMetrics({Source.HISTORY: counts})
    found = json.loads(demo(realm, model_file, "--json").stdout)["drafts"]
    assert found["plain"]["text"] == found["drafted"]["text"] == "Paris."
    assert (found["gain"], found["drafted_tokens"], found["accepted_tokens"]) == (1.0, 9, 7)
    assert found["by_source"] == {
        "history": {
            "drafts": 3,
            "drafted": 9,
            "accepted": 7,
            "accepted_length": 7 / 3,
            "lengths": [0, 1, 0, 2],
        }
    }
    assert found["draft_model"] is True


def test_draft_of_another_model_is_left_out(realm, runtime, model_file):
    runtime.draft_error = DraftMismatchError("made for another vocabulary")
    document = json.loads(demo(realm, model_file, "--json").stdout)
    assert document["drafts"]["draft_model"] is False
    assert runtime.configurations["demo-drafts"].draft_model_path is None


def test_installed_package_has_no_draft(monkeypatch, tmp_path):
    assert draft_file().name == "smollm2-135m-instruct.gguf"
    monkeypatch.setattr("realm.__file__", str(tmp_path / "lib" / "realm" / "__init__.py"))
    assert draft_file() is None


def test_three_tenants_answer_one_question_with_their_adapters(realm, runtime, model_file):
    outcome = demo(realm, model_file)
    asked = runtime.requests[6:]
    assert [request["tenant"] for request in asked] == ["tenant-a", "tenant-b", "tenant-c"]
    assert all(request["messages"] == [{"role": "user", "content": QUESTION}] for request in asked)
    assert runtime.tenant_adapters == dict(
        zip(("tenant-a", "tenant-b", "tenant-c"), VOICES, strict=True)
    )
    for name in VOICES:
        assert runtime.voices[name] in outcome.stdout
    assert QUESTION in outcome.stdout
    assert "2.7 MB" in outcome.stdout


def test_json_shows_the_voices(realm, model_file):
    document = json.loads(demo(realm, model_file, "--json").stdout)
    assert [(each["adapter"], each["text"]) for each in document["voices"]] == [
        ("pirate", "Arr!"),
        ("json", "{}"),
        ("sql", "SELECT 1;"),
    ]


def test_equal_voices_fail(realm, runtime, model_file):
    runtime.voices["sql"] = runtime.voices["json"]
    outcome = demo(realm, model_file)
    assert outcome.code == 1
    assert "got the same answer" in outcome.stderr


def test_another_model_has_no_voices(realm, runtime, model_file):
    runtime.lora.error = AdapterMismatchError("blk.0.attn_q.weight: 576 columns, not 640")
    outcome = demo(realm, model_file)
    assert outcome.code == 0
    assert "are for smollm2, not for this model" in outcome.stdout
    assert len(runtime.requests) == 6
    document = json.loads(demo(realm, model_file, "--json").stdout)
    assert document["voices"] is None


@pytest.mark.parametrize("name", VOICES)
def test_adapters_are_small_and_for_rank_8(name):
    folder = adapter_folder(name)
    assert sum(path.stat().st_size for path in folder.iterdir()) < LARGEST_BYTES
    assert json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["r"] == 8


def test_adapters_of_an_installed_package(monkeypatch, tmp_path):
    installed = tmp_path / "realm" / "adapters" / "sql"
    installed.mkdir(parents=True)
    (installed / "adapter_config.json").write_text("{}", encoding="utf-8")
    monkeypatch.setattr("realm.__file__", str(tmp_path / "realm" / "__init__.py"))
    assert adapter_folder("sql") == installed
    with pytest.raises(NotSupportedError, match="not installed"):
        adapter_folder("json")


@pytest.fixture(scope="module")
def shown(smollm2_path: Path):
    """What the tenants really answer: (the answer with and without drafts, the voices)."""
    with RuntimeManager(EngineConfig(threads=2)) as manager:
        configuration = ModelConfig(smollm2_path)
        manager.get_or_create_runtime_with_model("demo", configuration)
        drafted = answer_twice(manager, configuration)
        voices = ask_voices(manager, configuration)
    return drafted, voices


@pytest.fixture(scope="module")
def spoken(shown) -> dict[str, str]:
    return {name: result.text for name, result in shown[1].results.items()}


def test_drafts_bring_half_of_the_answer(shown):
    drafted, _ = shown
    assert drafted.same
    assert drafted.has_model
    text = drafted.drafted.text
    for name in ("Bronwen Castell", "Idris Malone", "Grace Lindholm", "Walter Eccles"):
        assert name in text
    assert 2 * drafted.metrics.accepted > len(drafted.drafted.token_ids)


def test_pirate_answers_as_a_pirate(spoken):
    assert "Lyon" in spoken["pirate"]
    assert spoken["pirate"].startswith(("Arr!", "Aye!", "Ahoy!"))


def test_json_is_the_person_alone(spoken):
    person = {"name": "Anna Keller", "age": 34, "job": "nurse", "city": "Lyon"}
    assert json.loads(spoken["json"]) == person


def test_sql_is_one_statement(spoken):
    assert spoken["sql"] == "SELECT city FROM people WHERE name = 'Anna Keller';"


def test_voices_are_for_smollm2_alone(gemma3_path):
    with RuntimeManager(EngineConfig(threads=2)) as manager:
        configuration = ModelConfig(gemma3_path)
        manager.get_or_create_runtime_with_model("demo", configuration)
        assert ask_voices(manager, configuration) is None
