"""Bytes of models that the machine has no room for."""

from __future__ import annotations

import os
import tempfile

import pytest

from realm.errors import ModelError
from realm.model import ModelStorage
from realm.runtime.guest_models import GuestModels


@pytest.fixture
def guest_models():
    return GuestModels(ModelStorage(1), lambda _: None)


def test_no_folder_for_them(guest_models, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(ModelError, match="cannot be kept: No such file") as caught:
        guest_models.store([b"GGUF"])
    assert str(tmp_path) not in str(caught.value)


def test_a_full_disk(guest_models, monkeypatch, tmp_path):
    full = os.open("/dev/full", os.O_RDWR)
    (tmp_path / "model").touch()
    monkeypatch.setattr(tempfile, "mkstemp", lambda prefix: (full, str(tmp_path / "model")))
    with pytest.raises(ModelError, match="cannot be kept: No space left"):
        guest_models.store([b"GGUF"])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(full)
