"""`realm models`: the catalog from the command line, and fetching on first use."""

import json

import pytest

from realm.catalog.progress import FetchProgress
from realm.catalog.source import FetchedFile

NAME = "hf:owner/repo/model.gguf"


class OneFileSource:
    fetches = 0

    def fetch(self, reference, work_directory, progress):
        self.fetches += 1
        path = work_directory / "arrived"
        path.write_bytes(b"x" * 2000)
        progress(FetchProgress("download", 1000, None))
        progress(FetchProgress("download", 1000, 2000))
        return FetchedFile(path, "model.gguf", None, "c0ffee")


@pytest.fixture
def sources():
    return {"hf": OneFileSource()}


def test_fetch_list_path_verify_remove(realm, sources):
    fetched = realm("models", "fetch", NAME, sources=sources)
    path = fetched.stdout.strip()
    assert fetched.stderr.splitlines() == [f"download {NAME}", f"verify   {NAME}"]
    assert realm("models", "path", "model.gguf").stdout.strip() == path
    listed = realm("models", "list").stdout
    assert "smollm2" in listed
    assert "2.0 kB" in listed
    assert realm("models", "verify", NAME).stdout.startswith(f"verified {NAME}: 2.0 kB, sha256 ")
    assert realm("models", "remove", NAME).stdout.startswith(f"removed {NAME}")
    assert realm("models", "path", NAME).code == 1


def test_json_of_every_action(realm, sources):
    fetched = realm("models", "fetch", NAME, "--json", sources=sources)
    assert fetched.stderr == ""
    path = json.loads(fetched.stdout)["path"]
    listed = json.loads(realm("models", "list", "--json").stdout)
    states = {model["name"]: model["state"] for model in listed["models"]}
    assert states[NAME] == "present"
    assert states["smollm2"] == "available"
    assert json.loads(realm("models", "path", NAME, "--json").stdout)["path"] == path
    assert json.loads(realm("models", "verify", NAME, "--json").stdout)["size_bytes"] == 2000
    assert json.loads(realm("models", "remove", NAME, "--json").stdout)["state"] == "removed"


def test_terminal_shows_a_bar_and_takes_it_away(realm, sources):
    outcome = realm("models", "fetch", NAME, sources=sources, terminal=True)
    assert "[############............]  50% of 2.0 kB" in outcome.stderr
    assert outcome.stderr.endswith("\r\x1b[K")
    assert "\n" not in outcome.stderr


def test_damaged_file_is_told(realm, sources, tmp_path):
    realm("models", "fetch", NAME, sources=sources)
    path = next((tmp_path / "models").rglob("model.gguf"))
    path.write_bytes(b"y" * 2000)
    outcome = realm("models", "verify", NAME)
    assert outcome.code == 1
    assert "SHA-256" in outcome.stderr


def test_reference_is_fetched_by_the_command_that_needs_it(realm, sources, runtime):
    for _ in range(2):
        outcome = realm("run", "--model", NAME, "--prompt", "x", "--json", sources=sources)
        assert json.loads(outcome.stdout)["text"] == "Paris."
        assert outcome.stderr == ""
    assert sources["hf"].fetches == 1


def test_models_directory_can_be_chosen(realm, sources, tmp_path):
    folder = tmp_path / "elsewhere"
    realm("models", "fetch", NAME, "--models-directory", folder, sources=sources)
    assert len(list(folder.rglob("model.gguf"))) == 1
