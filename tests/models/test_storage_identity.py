"""A file that is known is not read again, and one that has changed is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.tiny_model import TinyModel

from realm.errors import GGUFOpenError
from realm.model import ModelStorage, storage


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that were opened."""
    paths: list[str] = []
    genuine = storage.open_gguf

    def note(path: str | Path):
        paths.append(str(path))
        return genuine(path)

    monkeypatch.setattr(storage, "open_gguf", note)
    return paths


def test_a_file_at_rest_is_read_once(tmp_path, opened, monkeypatch) -> None:
    monkeypatch.setattr(storage, "_RESTING_NANOSECONDS", 0)
    path = TinyModel().write(tmp_path / "a.gguf")
    models = ModelStorage(threads=1)
    first = models.load(path)
    link = tmp_path / "b.gguf"
    link.symlink_to(path)
    assert models.load(path) is first
    assert models.load(str(link)) is first
    assert len(opened) == 1


def test_a_file_that_has_just_changed_is_looked_at_again(tmp_path, opened) -> None:
    path = TinyModel().write(tmp_path / "a.gguf")
    models = ModelStorage(threads=1)
    assert models.load(path) is models.load(path)
    assert len(opened) == 2


def test_a_file_of_the_same_size_and_time_is_another(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(storage, "_RESTING_NANOSECONDS", 0)
    path = TinyModel().write(tmp_path / "a.gguf")
    models = ModelStorage(threads=1)
    first = models.load(path)
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    other = tmp_path / "b.gguf"
    other.write_bytes(data)
    os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
    other.replace(path)
    assert path.stat().st_size == times.st_size
    assert path.stat().st_mtime_ns == times.st_mtime_ns
    assert models.load(path) is not first


def test_a_model_that_is_gone_is_read_again(tmp_path, opened, monkeypatch) -> None:
    monkeypatch.setattr(storage, "_RESTING_NANOSECONDS", 0)
    path = TinyModel().write(tmp_path / "a.gguf")
    models = ModelStorage(threads=1)
    first = models.hold(path)
    assert models.release(first)
    assert models.hold(path) is not first
    assert len(opened) == 2
    path.unlink()
    with pytest.raises(GGUFOpenError):
        models.load(path)
