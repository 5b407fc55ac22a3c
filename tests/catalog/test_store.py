"""The catalog itself, with sources that the tests write."""

import hashlib
import json
from pathlib import Path
from threading import Barrier, Thread

import pytest

from realm.catalog import (
    WELL_KNOWN_MODELS,
    Catalog,
    EntryState,
    default_directory,
    find_well_known,
)
from realm.catalog.source import FetchedFile
from realm.errors import CatalogError, IntegrityError


class BytesSource:
    """Gives the same bytes to every fetch and counts the fetches."""

    def __init__(self, content, sha256=None):
        self.content = content
        self.sha256 = sha256
        self.fetches = 0

    def fetch(self, reference, work_directory, progress):
        self.fetches += 1
        path = work_directory / "arrived"
        path.write_bytes(self.content)
        return FetchedFile(path, "model.gguf", self.sha256, "r1")


def make_catalog(tmp_path, source):
    return Catalog(tmp_path / "models", {"hf": source, "package": source})


def test_threads_that_fetch_at_once_do_the_work_once(tmp_path):
    source = BytesSource(b"x" * 100_000)
    barrier = Barrier(8)
    paths = []

    def fetch():
        catalog = make_catalog(tmp_path, source)
        barrier.wait()
        paths.append(catalog.fetch("hf:o/r/m.gguf"))

    threads = [Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.fetches == 1
    assert len(paths) == 8
    assert len(set(paths)) == 1


def test_two_models_of_one_file_name_do_not_collide(tmp_path):
    catalog = make_catalog(tmp_path, BytesSource(b"x"))
    first = catalog.fetch("hf:o/r/m.gguf")
    second = catalog.fetch("hf:o/other/m.gguf")
    assert first != second
    assert first.name == second.name
    with pytest.raises(CatalogError):
        catalog.resolve("model.gguf")  # two of that name: not a name


@pytest.mark.parametrize("model", WELL_KNOWN_MODELS, ids=lambda model: model.name)
def test_well_known_model_with_other_bytes_is_refused(tmp_path, model):
    catalog = make_catalog(tmp_path, BytesSource(b"x" * 10))
    with pytest.raises(IntegrityError, match=str(model.size_bytes)):
        catalog.fetch(model.name)
    assert list(catalog.directory.rglob("*.gguf")) == []
    with pytest.raises(CatalogError, match=f"realm models fetch {model.name}"):
        catalog.resolve(model.name)


def test_hash_that_the_source_promised_is_checked(tmp_path):
    good = hashlib.sha256(b"bytes").hexdigest()
    assert make_catalog(tmp_path, BytesSource(b"bytes", good)).fetch("hf:o/r/a.gguf").is_file()
    with pytest.raises(IntegrityError, match=good):
        make_catalog(tmp_path, BytesSource(b"other", good)).fetch("hf:o/r/b.gguf")


def test_well_known_models_are_listed_before_they_are_fetched(tmp_path):
    entries = Catalog(tmp_path).list()
    assert {entry.name for entry in entries} == {model.name for model in WELL_KNOWN_MODELS}
    assert {entry.state for entry in entries} == {EntryState.AVAILABLE}
    assert find_well_known("smollm2") is not None
    assert not (tmp_path / "index.json").exists()


def test_verify_finds_one_flipped_bit(tmp_path):
    catalog = make_catalog(tmp_path, BytesSource(bytes(1000)))
    path = catalog.fetch("hf:o/r/m.gguf")
    assert catalog.verify("hf:o/r/m.gguf").size_bytes == 1000
    content = bytearray(1000)
    content[500] = 1
    path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match=str(path)):
        catalog.verify("hf:o/r/m.gguf")


def test_file_deleted_by_hand_is_missing_and_fetched_again(tmp_path):
    source = BytesSource(b"x")
    catalog = make_catalog(tmp_path, source)
    path = catalog.fetch("hf:o/r/m.gguf")
    path.unlink()
    entry = next(entry for entry in catalog.list() if entry.name.startswith("hf:"))
    assert entry.state is EntryState.MISSING
    with pytest.raises(CatalogError, match="missing or damaged"):
        catalog.resolve("hf:o/r/m.gguf")
    with pytest.raises(IntegrityError, match="gone"):
        catalog.verify("hf:o/r/m.gguf")
    assert catalog.fetch("hf:o/r/m.gguf") == path
    assert source.fetches == 2


def test_path_source_is_registered_without_a_copy_and_survives_remove(tmp_path):
    file = tmp_path / "mine.gguf"
    file.write_bytes(b"mine")
    catalog = Catalog(tmp_path / "models")
    assert catalog.fetch(f"path:{file}") == file
    assert catalog.resolve("mine.gguf") == file
    assert catalog.verify(f"path:{file}").sha256 == hashlib.sha256(b"mine").hexdigest()
    catalog.remove(f"path:{file}")
    assert file.read_bytes() == b"mine"
    assert all(entry.state is EntryState.AVAILABLE for entry in catalog.list())


def test_plain_path_resolves_to_itself(tmp_path):
    file = tmp_path / "mine.gguf"
    file.write_bytes(b"mine")
    catalog = Catalog(tmp_path / "models")
    assert catalog.resolve(file) == file
    assert catalog.resolve(f"path:{file}") == file


def test_obtain_fetches_what_has_a_source_and_looks_up_the_rest(tmp_path):
    source = BytesSource(b"x")
    catalog = make_catalog(tmp_path, source)
    assert catalog.obtain("hf:o/r/m.gguf") == catalog.obtain("model.gguf")
    assert source.fetches == 1
    file = tmp_path / "mine.gguf"
    file.write_bytes(b"mine")
    assert catalog.obtain(f"path:{file}") == file
    assert len([e for e in catalog.list() if e.state is EntryState.PRESENT]) == 1
    with pytest.raises(CatalogError, match="smollm2"):
        catalog.obtain("smollm3")


def test_fetch_of_a_plain_path_registers_it(tmp_path):
    file = tmp_path / "mine.gguf"
    file.write_bytes(b"mine")
    catalog = Catalog(tmp_path / "models")
    assert catalog.fetch(str(file)) == file
    assert catalog.verify(f"path:{file}").size_bytes == 4


@pytest.mark.parametrize("text", ["nothing.gguf", "path:/no/such/file.gguf", ".", "hf:o/r/m.gguf"])
def test_what_is_not_there_is_a_catalog_error_with_its_name(tmp_path, text):
    with pytest.raises(CatalogError) as raised:
        Catalog(tmp_path / "models").resolve(text)
    assert text in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"version": 2, "models": []}',
        '{"version": 1}',
        '{"version": 1, "models": [{"name": "x"}]}',
        '{"version": 1, "models": [7]}',
        '{"version": 1, "models": [{"name": 1, "file": "", "size_bytes": 1, "sha256": "",'
        ' "source": ""}]}',
        '{"version": 1, "models": [{"name": "x", "file": "", "size_bytes": -1, "sha256": "",'
        ' "source": ""}]}',
        "\ud800",
    ],
)
def test_malformed_index_says_where_and_what_to_do(tmp_path, text):
    (tmp_path / "index.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(CatalogError, match=r"index\.json"):
        Catalog(tmp_path).list()


def test_index_is_plain_json(tmp_path):
    catalog = make_catalog(tmp_path, BytesSource(b"x"))
    catalog.fetch("hf:o/r/m.gguf@v2")
    document = json.loads((catalog.directory / "index.json").read_text())
    assert document["models"][0]["source"] == "hf:o/r/m.gguf@v2"
    assert document["models"][0]["revision"] == "r1"


def test_default_directory_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("REALM_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "models"
    monkeypatch.delenv("REALM_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_directory() == tmp_path / ".cache" / "realm" / "models"


def test_remove_of_an_unknown_model_names_what_is_there(tmp_path):
    catalog = make_catalog(tmp_path, BytesSource(b"x"))
    catalog.fetch("hf:o/r/m.gguf")
    with pytest.raises(CatalogError, match=r"hf:o/r/m\.gguf"):
        catalog.remove("other")


def test_folder_that_cannot_be_made_is_a_catalog_error(tmp_path):
    (tmp_path / "models").write_text("a file, not a folder")
    with pytest.raises(CatalogError, match="models"):
        make_catalog(tmp_path, BytesSource(b"x")).fetch("hf:o/r/m.gguf")


@pytest.mark.parametrize("name", ["~no-such-user/m.gguf", "a" * 300, "a" * 300 + "/b"])
@pytest.mark.parametrize("scheme", ["", "path:"])
def test_a_name_that_can_be_no_path_is_a_typed_error(tmp_path, scheme, name):
    catalog = make_catalog(tmp_path, BytesSource(b"x"))
    for find in (catalog.resolve, catalog.obtain, catalog.fetch):
        with pytest.raises(CatalogError, match=name[:3]):
            find(scheme + name)


def test_a_folder_of_nobody_is_a_typed_error():
    with pytest.raises(CatalogError, match="no-such-user"):
        Catalog(Path("~no-such-user/models"))


def test_a_file_that_cannot_be_asked_about_is_missing(tmp_path):
    catalog = make_catalog(tmp_path, BytesSource(b"x"))
    catalog.fetch("hf:o/r/m.gguf")
    index = catalog.directory / "index.json"
    document = json.loads(index.read_text())
    document["models"][0]["file"] = "a" * 300
    index.write_text(json.dumps(document))
    (entry,) = [each for each in catalog.list() if each.source == "hf:o/r/m.gguf"]
    assert entry.state is EntryState.MISSING
    with pytest.raises(CatalogError, match="too long"):
        catalog.verify("hf:o/r/m.gguf")
