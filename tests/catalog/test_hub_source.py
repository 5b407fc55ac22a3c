"""The hub source through the real huggingface_hub, against a hub on the loopback."""

import sys

import pytest

from catalog.hub_server import COMMIT, FakeHub, serve
from realm.catalog import Catalog
from realm.catalog.hub_source import HubSource
from realm.errors import CatalogError, IntegrityError, NotSupportedError

NAME = "hf:owner/repo/folder/model.gguf"
CONTENT = b"GGUF" + bytes(range(256)) * 9000


@pytest.fixture
def hub():
    with serve(FakeHub(CONTENT)) as served:
        yield served


@pytest.fixture
def catalog(tmp_path, hub):
    return Catalog(tmp_path / "models", {"hf": HubSource(hub.endpoint)})


def test_file_is_fetched_at_the_commit_and_verified(catalog, hub):
    reports = []
    path = catalog.fetch(NAME, reports.append)
    assert path.read_bytes() == CONTENT
    assert catalog.verify(NAME).revision == COMMIT
    assert hub.requested == [
        ("HEAD", "/owner/repo/resolve/main/folder/model.gguf", None),
        ("GET", f"/owner/repo/resolve/{COMMIT}/folder/model.gguf", None),
    ]
    assert [r.bytes_done for r in reports if r.stage == "download"][-1] == len(CONTENT)
    catalog.fetch(NAME)
    assert len(hub.requested) == 2


def test_broken_connection_is_resumed_where_it_stopped(catalog, hub):
    hub.break_after = 1_500_000
    with pytest.raises(CatalogError, match="cannot be fetched"):
        catalog.fetch(NAME)
    assert list(catalog.directory.rglob("*.gguf")) == []
    assert catalog.fetch(NAME).read_bytes() == CONTENT
    wanted = hub.requested[-1][2]
    assert wanted is not None
    assert 0 < int(wanted.removeprefix("bytes=").removesuffix("-")) <= 1_500_000


def test_server_without_ranges_sends_the_whole_file_again(catalog, hub):
    hub.break_after = 1_500_000
    hub.honours_ranges = False
    with pytest.raises(CatalogError):
        catalog.fetch(NAME)
    assert catalog.fetch(NAME).read_bytes() == CONTENT


def test_wrong_bytes_are_refused_and_not_kept(catalog, hub):
    hub.sha256 = "0" * 64
    with pytest.raises(IntegrityError, match="expected 000000"):
        catalog.fetch(NAME)
    assert [
        path for path in catalog.directory.rglob("*") if path.suffix in (".gguf", ".part")
    ] == []


def test_hub_that_names_no_sha256_is_refused(catalog, hub):
    hub.sha256 = "1" * 40
    with pytest.raises(CatalogError, match="no SHA-256"):
        catalog.fetch(NAME)


def test_file_that_is_not_there_is_a_catalog_error(catalog):
    with pytest.raises(CatalogError, match="404"):
        catalog.fetch("hf:owner/other/model.gguf")


def test_missing_extra_says_how_to_install_it(catalog, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(NotSupportedError, match=r"realm\[hub\]"):
        catalog.fetch(NAME)
