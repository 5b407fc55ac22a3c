"""`realm pipelines`: files checked, and pipelines run here and by a server."""

import json

import pytest
from tests.server.fakes import FakeEngine
from tests.server.web_socket_server import ACME_KEY, KnownDirectory, make_services, serving

PIPELINE = """
id: two
name: Two steps
inputs:
  text: {type: string, description: What it is about.}
  count: {type: integer, default: 3}
steps:
  - {id: a, model_type: chat, system: Be brief, input: "Say {{ inputs.text }} {{ inputs.count }}"}
  - {id: b, model_type: completion, input: $steps.a.output, options: {max_tokens: 9}}
output: $steps.b.output
"""


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pipelines"
    folder.mkdir()
    (folder / "two.yaml").write_text(PIPELINE)
    return folder


@pytest.fixture
def server(folder, monkeypatch):
    engine = FakeEngine()
    services = make_services(engine, KnownDirectory(keys_required=True), folder)
    monkeypatch.setenv("REALM_API_KEY", ACME_KEY)
    with serving(services) as port:
        yield f"http://127.0.0.1:{port}"


def test_good_definitions(realm, folder):
    outcome = realm("pipelines", "check", folder, folder / "two.yaml")
    assert outcome.code == 0
    assert outcome.stdout == "two: good, 2 steps\n" * 2
    document = json.loads(realm("pipelines", "check", folder, "--json").stdout)
    assert document["errors"] == []
    assert document["pipelines"][0]["steps"][1]["id"] == "b"


def test_bad_definitions_are_all_told(realm, folder):
    (folder / "one.yaml").write_text("id: one")
    (folder / "zero.json").write_text("{")
    (folder / "copy.yaml").write_text(PIPELINE)
    outcome = realm("pipelines", "check", folder, folder / "nothing.yaml")
    assert outcome.code == 1
    lines = outcome.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "one.yaml",
        "two.yaml",
        "zero.json",
        "nothing.yaml",
    ]


def test_a_folder_is_listed_and_shown(realm, folder):
    listed = realm("pipelines", "list", "--directory", folder)
    assert listed.stdout.splitlines()[1].split() == ["two", "Two", "steps", "text,", "count", "2"]
    shown = realm("pipelines", "show", "two", "--directory", folder)
    assert "What it is about." in shown.stdout
    assert "optional, 3 if left out" in shown.stdout
    document = json.loads(realm("pipelines", "show", "two", "--directory", folder, "--json").stdout)
    assert document["inputs"]["count"]["default"] == 3
    assert realm("pipelines", "show", "three", "--directory", folder).code == 1


def test_a_run_in_this_process(realm, runtime, folder, model_file):
    words = ["pipelines", "run", folder / "two.yaml", "--model", model_file]
    outcome = realm(*words, "--input", "text=it", "--input", "count=5")
    assert outcome.code == 0
    assert outcome.stdout == runtime.answer_of("command-line") + "\n"
    assert len(outcome.stderr.splitlines()) == 2
    first, second = runtime.requests
    assert [each["content"] for each in first["messages"]] == ["Be brief", "Say it 5"]
    assert (second["prompt"], second["max_tokens"]) == (runtime.answer_of("command-line"), 9)
    document = json.loads(realm(*words, "--input", "text=it", "--json").stdout)
    assert [step["id"] for step in document["steps"]] == ["a", "b"]


def test_a_vector_in_this_process(realm, folder, model_file):
    path = folder / "vector.yaml"
    path.write_text(
        "id: v\nsteps: [{id: a, model_type: embedding, input: abc}]\noutput: $steps.a.output\n"
    )
    outcome = realm("pipelines", "run", path, "--model", model_file, "--json")
    assert len(json.loads(outcome.stdout)["output"]) == 3


def test_adapters_need_a_server(realm, folder, model_file):
    path = folder / "adapter.yaml"
    path.write_text("id: v\nsteps: [{id: a, model: 'm:x', input: y}]\noutput: $steps.a.output\n")
    outcome = realm("pipelines", "run", path, "--model", model_file)
    assert outcome.code == 1
    assert "step 'a' has an adapter" in outcome.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "the input 'text' is missing"),
        (["--input", "text"], "is not NAME=VALUE"),
        (["--input", "text=a", "--input", "text=b"], "is given twice"),
        (["--input", "text=a", "--input", "count=many"], "not JSON of type 'integer'"),
        (["--input", "text=a", "--input", "count=1.5"], "must be of type 'integer'"),
        (["--input", "text=a", "--input", "other=b"], "has no input 'other'"),
        (["--input", "text=@/nothing/here"], "cannot be read"),
    ],
)
def test_wrong_inputs(realm, folder, model_file, words, told):
    outcome = realm("pipelines", "run", folder / "two.yaml", "--model", model_file, *words)
    assert outcome.code == 1
    assert told in outcome.stderr
    assert outcome.stdout == ""


def test_a_server_is_asked(realm, server, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("the river")
    assert "Two steps" in realm("pipelines", "list", "--server", server).stdout
    assert "step a" in realm("pipelines", "show", "two", "--server", server).stdout
    words = ["pipelines", "run", "two", "--server", server, "--input", f"text=@{text}"]
    assert realm(*words).stdout == "The capital of France is Paris.\n"
    assert json.loads(realm(*words, "--json").stdout)["usage"]["completion_tokens"] == 12


def test_what_a_server_refuses(realm, server, monkeypatch):
    missing = realm("pipelines", "run", "../three", "--server", server)
    assert (missing.code, "there is no" in missing.stderr) == (1, True)
    wrong = realm("pipelines", "run", "two", "--server", server, "--input", "count=3")
    assert "the input 'text' is missing" in wrong.stderr
    monkeypatch.setenv("REALM_API_KEY", "realm_wrong_secret-of-nobody")
    refused = realm("pipelines", "list", "--server", server)
    assert refused.code == 1
    assert "secret-of-nobody" not in refused.stderr


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x", "nothing"])
def test_addresses_that_are_none(realm, url):
    outcome = realm("pipelines", "list", "--server", url)
    assert outcome.code == 1
    assert "is not an address" in outcome.stderr


def test_a_server_that_is_not_there(realm):
    outcome = realm("pipelines", "list", "--server", "http://127.0.0.1:9")
    assert outcome.code == 1
    assert "does not answer" in outcome.stderr
