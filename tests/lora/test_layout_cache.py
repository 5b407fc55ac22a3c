"""With layouts at hand, every file comes to what it comes to without them, only sooner."""

import random
from pathlib import Path

import numpy as np
import pytest
from attacks.adapters import files as f
from attacks.adapters import fuzz
from attacks.gguf.fuzz import mutate

from realm.errors import AdapterError, AdapterFormatError
from realm.lora import load_adapter, peft_folder
from realm.lora.layout_cache import LayoutCache
from realm.lora.safetensors import read_header

BASE = f.base()


class CountingCache(LayoutCache):
    """found: how often it knew a layout."""

    found = 0

    def find(self, *arguments, **keywords):
        layout = super().find(*arguments, **keywords)
        self.found += layout is not None
        return layout


def outcome(path: Path, layouts: LayoutCache | None = None) -> str:
    try:
        return load_adapter(path, BASE, layouts).digest.hex()
    except AdapterError as error:
        return f"{type(error).__name__}: {error}"


def write_folder(folder: Path, seed: int = 0, **changes) -> Path:
    found = f.tensors()
    for number, (name, (dtype, shape, _)) in enumerate(list(found.items())):
        numbers = np.random.default_rng(seed + number).standard_normal(shape)
        found[name] = (dtype, shape, numbers.astype(np.float32).tobytes())
    return f.write_folder(folder, f.config(**changes), f.safetensors(found))


@pytest.mark.parametrize("seed", fuzz.SEEDS, ids=lambda seed: seed.name)
def test_changed_files_come_to_the_same(tmp_path: Path, seed: fuzz.Seed) -> None:
    layouts = CountingCache()
    load_adapter(seed.write(tmp_path, seed.data()), BASE, layouts)
    chance = random.Random(7)
    for _ in range(400):
        change = fuzz.mutate_json if seed.is_json and chance.random() < 0.5 else mutate
        path = seed.write(tmp_path, change(seed.data(), seed.header, chance))
        assert outcome(path, layouts) == outcome(path)
    assert 0 < layouts.found < 400


def test_other_numbers_under_one_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts = LayoutCache()
    folders = [write_folder(tmp_path / str(seed), seed) for seed in range(3)]
    digests = [load_adapter(folder, BASE).digest for folder in folders]
    load_adapter(folders[0], BASE, layouts)
    headers = []
    monkeypatch.setattr(peft_folder, "read_header", lambda file: headers.append(read_header(file)))
    for folder, digest in zip(folders, digests, strict=True):
        assert load_adapter(folder, BASE, layouts).digest == digest
    assert not headers and len(set(digests)) == 3


def test_another_base_or_configuration_is_read_anew(tmp_path: Path) -> None:
    layouts = CountingCache()
    folder = write_folder(tmp_path / "a")
    plain = load_adapter(folder, BASE, layouts)
    assert load_adapter(folder, f.base(interleaved=False), layouts).digest != plain.digest
    other = write_folder(tmp_path / "b", lora_alpha=16)
    assert load_adapter(other, BASE, layouts).digest != plain.digest
    assert layouts.found == 0
    assert load_adapter(folder, BASE, layouts).digest == plain.digest
    assert layouts.found == 1


def test_a_number_that_is_none_is_named(tmp_path: Path) -> None:
    layouts = CountingCache()
    folder = write_folder(tmp_path / "a")
    load_adapter(folder, BASE, layouts)
    weights = folder / peft_folder.WEIGHTS_FILE
    data = bytearray(weights.read_bytes())
    data[-4:] = np.float32(np.nan).tobytes()
    weights.write_bytes(data)
    with pytest.raises(AdapterFormatError, match=r"tensor .*lora_[AB].*holds nan"):
        load_adapter(folder, BASE, layouts)
    assert layouts.found == 1


def test_only_a_few_are_kept(tmp_path: Path) -> None:
    layouts = CountingCache()
    folders = [write_folder(tmp_path / str(n), lora_alpha=n + 1) for n in range(40)]
    for folder in folders:
        load_adapter(folder, BASE, layouts)
    load_adapter(folders[0], BASE, layouts)
    assert layouts.found == 0
    load_adapter(folders[-1], BASE, layouts)
    assert layouts.found == 1
