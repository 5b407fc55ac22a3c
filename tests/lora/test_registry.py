"""The registry: copies, names that share a content, and an index that stays whole."""

import json
import os
from pathlib import Path

import pytest
from attacks.adapters import files as f

from realm.errors import (
    AdapterError,
    AdapterFormatError,
    AdapterNotFoundError,
    AdapterOpenError,
)
from realm.lora import load_adapter
from realm.lora.registry import AdapterRegistry


def write(folder: Path, alpha: float = 8) -> Path:
    folder.mkdir(exist_ok=True)
    return f.write_folder(folder / "peft", f.config(lora_alpha=alpha), f.safetensors(f.tensors()))


@pytest.fixture
def registry(tmp_path: Path) -> AdapterRegistry:
    return AdapterRegistry(tmp_path / "adapters")


def contents(registry: AdapterRegistry) -> set[str]:
    return {path.name for path in (registry.directory / "contents").iterdir()}


def test_a_name_keeps_its_content(registry: AdapterRegistry, tmp_path: Path) -> None:
    path = write(tmp_path / "a")
    (path / "README.md").write_text("not needed")
    record = registry.add("pirate", path, f.base())
    digest = load_adapter(path, f.base()).digest.hex()
    write(tmp_path / "a", alpha=99)
    assert load_adapter(registry.resolve("pirate"), f.base()).digest.hex() == digest
    assert registry.get("pirate") == record == registry.list()[0]
    assert (record.digest, record.rank, record.architecture) == (digest, f.RANK, "llama")
    assert record.projections == ("down", "query")
    assert record.parameter_count == 2 * f.RANK * (32 + 32 + 48 + 32)
    assert len(list(registry.resolve("pirate").iterdir())) == 2


def test_gguf(registry: AdapterRegistry, tmp_path: Path) -> None:
    path = tmp_path / "pirate.gguf"
    path.write_bytes(f.gguf_adapter())
    record = registry.add("pirate", path, f.base())
    assert registry.resolve("pirate").read_bytes() == path.read_bytes()
    assert record.size_bytes == path.stat().st_size
    assert registry.resolve(path) == path


def test_names_of_one_content(registry: AdapterRegistry, tmp_path: Path) -> None:
    path = write(tmp_path / "a")
    first = registry.add("one", path, f.base())
    registry.add("two", path, f.base())
    assert contents(registry) == {first.digest}
    registry.remove("one")
    assert contents(registry) == {first.digest}
    registry.remove("two")
    assert contents(registry) == set()


def test_a_name_that_is_taken_means_the_new_one(registry: AdapterRegistry, tmp_path: Path) -> None:
    registry.add("a", write(tmp_path / "a", 1), f.base())
    second = registry.add("a", write(tmp_path / "b", 2), f.base())
    assert contents(registry) == {second.digest}
    assert [record.digest for record in registry.list()] == [second.digest]


def test_what_is_wrong_does_not_enter(registry: AdapterRegistry, tmp_path: Path) -> None:
    bad = f.write_folder(tmp_path / "bad", f.config(r=9), f.safetensors(f.tensors()))
    with pytest.raises(AdapterFormatError):
        registry.add("bad", bad, f.base())
    with pytest.raises(AdapterError, match="name"):
        registry.add("a\nb", write(tmp_path / "a"), f.base())
    assert registry.list() == []
    for call in (registry.get, registry.resolve, registry.remove):
        with pytest.raises(AdapterNotFoundError):
            call("bad")


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', '{"version": 1, "adapters": [{}]}'])
def test_a_damaged_index_is_told(registry: AdapterRegistry, text: str) -> None:
    registry.directory.mkdir()
    (registry.directory / "index.json").write_text(text)
    with pytest.raises(AdapterError, match="index"):
        registry.list()


def test_an_index_cannot_lead_out(registry: AdapterRegistry, tmp_path: Path) -> None:
    registry.add("a", write(tmp_path / "a"), f.base())
    index = registry.directory / "index.json"
    index.write_text(index.read_text().replace('"contents/', '"../../contents/'))
    with pytest.raises(AdapterError, match="outside"):
        registry.resolve("a")


@pytest.mark.parametrize("digest", ["../../kept", "{kept}", "", "ab" * 31, "AB" * 32, 7])
def test_an_index_cannot_delete_other_folders(
    registry: AdapterRegistry, tmp_path: Path, digest: object
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    registry.add("a", write(tmp_path / "a"), f.base())
    index = registry.directory / "index.json"
    document = json.loads(index.read_text())
    document["adapters"][0]["digest"] = (
        digest.format(kept=kept) if isinstance(digest, str) else digest
    )
    index.write_text(json.dumps(document))
    for change in (
        lambda: registry.remove("a"),
        lambda: registry.add("a", write(tmp_path / "b", 2), f.base()),
    ):
        with pytest.raises(AdapterError, match="index"):
            change()
    assert kept.is_dir()


def test_an_index_that_is_nested_without_end(registry: AdapterRegistry) -> None:
    registry.directory.mkdir()
    (registry.directory / "index.json").write_text("[" * 100_000)
    with pytest.raises(AdapterError, match="index"):
        registry.list()


def test_paths_that_no_one_can_follow(
    registry: AdapterRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AdapterOpenError, match="nobody-of-this-name"):
        registry.resolve("~nobody-of-this-name/adapter")
    with pytest.raises(AdapterOpenError, match="nobody-of-this-name"):
        AdapterRegistry(Path("~nobody-of-this-name/adapters"))
    with pytest.raises(AdapterOpenError, match="too long"):
        registry.resolve("a" * 5000)
    monkeypatch.delenv("REALM_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    with pytest.raises(AdapterOpenError, match="home"):
        AdapterRegistry()
