"""Attacks on what is opened: links, pipes, folders in place of files, pickles, odd paths."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

from attacks.adapters import files as f
from attacks.adapters.attack import Attack
from realm.errors import AdapterKindError, AdapterOpenError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


class _Payload:
    """What a pickle would run if it were ever read."""

    def __reduce__(self) -> tuple[Callable[[int], None], tuple[int]]:
        return os._exit, (66,)


def _elsewhere(folder: Path) -> Path:
    """A sound adapter beside the folder that is attacked."""
    other = folder.parent / (folder.name + "-elsewhere")
    return f.write_folder(other, f.config(), f.safetensors(f.tensors()))


def _link(name: str, *, relative: bool) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        other = _elsewhere(folder)
        f.write_folder(folder, f.config(), f.safetensors(f.tensors()))
        (folder / name).unlink()
        (folder / name).symlink_to(Path("..") / other.name / name if relative else other / name)
        return folder

    return make


def _inner_link(folder: Path) -> Path:
    f.write_folder(folder, f.config(), f.safetensors(f.tensors()))
    (folder / WEIGHTS).rename(folder / "real")
    (folder / WEIGHTS).symlink_to("real")
    return folder


def _loop(folder: Path) -> Path:
    f.write_folder(folder, f.config(), None)
    (folder / WEIGHTS).symlink_to(WEIGHTS)
    return folder


def _pipe(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        f.write_folder(folder, f.config(), f.safetensors(f.tensors()))
        (folder / name).unlink()
        os.mkfifo(folder / name)
        return folder

    return make


def _folder_as_file(folder: Path) -> Path:
    f.write_folder(folder, f.config(), None)
    (folder / WEIGHTS).mkdir()
    return folder


def _pickles(folder: Path) -> Path:
    f.write_folder(folder, f.config(), None)
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(_Payload()))
    return folder


def _lone_pickle(folder: Path) -> Path:
    path = folder / "adapter_model.bin"
    path.write_bytes(pickle.dumps(_Payload()))
    return path


def _lone_pipe(folder: Path) -> Path:
    os.mkfifo(folder / "adapter.gguf")
    return folder / "adapter.gguf"


PATHS: Sequence[Attack] = (
    Attack("nothing there", AdapterOpenError, "neither", lambda folder: folder / "none"),
    Attack("empty folder", AdapterOpenError, "adapter_config.json", lambda folder: folder),
    Attack("a NUL in the path", AdapterOpenError, "", lambda folder: folder / "a\0b"),
    Attack(
        "a path of 5,000 characters", AdapterOpenError, "", lambda folder: folder / ("x" * 5000)
    ),
    Attack(
        "weights are missing",
        AdapterOpenError,
        WEIGHTS,
        lambda folder: f.write_folder(folder, f.config(), None),
    ),
    Attack(
        "configuration is missing",
        AdapterOpenError,
        CONFIG,
        lambda folder: f.write_folder(folder, None, f.safetensors(f.tensors())),
    ),
    Attack("weights by a link", AdapterOpenError, "link", _link(WEIGHTS, relative=False)),
    Attack("weights by ../", AdapterOpenError, "link", _link(WEIGHTS, relative=True)),
    Attack("configuration by a link", AdapterOpenError, "link", _link(CONFIG, relative=True)),
    Attack("a link within the folder", AdapterOpenError, "link", _inner_link),
    Attack("a link to itself", AdapterOpenError, "link", _loop),
    Attack("weights are a pipe", AdapterOpenError, "regular", _pipe(WEIGHTS)),
    Attack("configuration is a pipe", AdapterOpenError, "regular", _pipe(CONFIG)),
    Attack("weights are a folder", AdapterOpenError, "regular", _folder_as_file),
    Attack("an adapter that is a pipe", AdapterOpenError, "neither", _lone_pipe),
    Attack("a device", AdapterOpenError, "neither", lambda _: Path("/dev/zero")),
    Attack("pickled weights", AdapterKindError, "pickle", _pickles),
    Attack("a lone pickle", AdapterKindError, "pickle", _lone_pickle),
)
