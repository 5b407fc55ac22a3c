"""The adapters that stand on the ground: the hostile tenant's, its neighbours', and everyone's.

They fit whatever model the ground has, but for two: one of another model, and one whose file is not
what it was when it was loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attacks.adapters import files
from attacks.gguf import files as gguf_files
from realm.lora import AdapterBase, AdapterFile, LoRAManager

HOSTILE = "hostile"
NEIGHBOUR = "honest-1"
OWN, SECOND = "own", "second"
ELSEWHERE, CHANGED = "elsewhere", "changed"
EVERYONES = "everyones"
THEIRS = "theirs"
"""A name that the neighbours alone have."""
_BASE_OF_SHAPES = "a model that is only its shapes"


@dataclass(frozen=True, slots=True)
class _Shapes:
    """What nobody can compute with."""

    byte_size: int
    digest: bytes


class GroundAdapters:
    """Every second neighbour has THEIRS for all its requests, each with numbers of its own."""

    def __init__(self, lora: LoRAManager, base: AdapterBase, folder: Path) -> None:
        """Makes the files in `folder` and loads them. base: of the ground's model."""
        self._lora = lora
        self._names: list[tuple[str, str | None]] = []

        def load(name: str, tenant: str | None, seed: int) -> None:
            path = folder / f"{seed}.gguf"
            if not path.exists():
                path.write_bytes(_random_adapter(base, seed))
            self._load(name, tenant, path)

        load(OWN, HOSTILE, 1)
        load(SECOND, HOSTILE, 2)
        load(EVERYONES, None, 3)
        for number in range(1, 8, 2):
            load(THEIRS, f"honest-{number}", 10 + number)
            load(THEIRS, f"alone-{number}", 10 + number)
        self._load_what_does_not_fit(folder)

    def default(self, tenant_id: str) -> str | None:
        """The adapter that a tenant has for all its requests."""
        return THEIRS if (THEIRS, tenant_id) in self._names else None

    def use_count(self) -> int:
        """How many hold one of them, or wait for one."""
        versions = (each for name in self._names for each in self._lora.versions(*name))
        return sum(each.user_count + each.waiting_count for each in versions)

    def _load(self, name: str, tenant: str | None, path: Path) -> None:
        self._lora.load(name, path, tenant)
        self._names.append((name, tenant))

    def _load_what_does_not_fit(self, folder: Path) -> None:
        self._lora.add_base(_BASE_OF_SHAPES, files.base(), _shapes_of)
        for name in (ELSEWHERE, CHANGED):
            path = folder / f"{name}.gguf"
            path.write_bytes(files.gguf_adapter())
            self._load(name, HOSTILE, path)
        (folder / f"{CHANGED}.gguf").write_bytes(files.gguf_adapter() + bytes(32))


def _shapes_of(file: AdapterFile) -> _Shapes:
    adapter = file.read()
    return _Shapes(adapter.byte_size, adapter.digest)


def _random_adapter(base: AdapterBase, seed: int) -> bytes:
    """A GGUF adapter of every layer's products, strong enough to change what the model says."""
    random = np.random.default_rng(seed)
    content = {}
    for name, (outputs, inputs) in base.shapes.items():
        if name.startswith("blk."):
            for side, rows, columns in (("a", files.RANK, inputs), ("b", outputs, files.RANK)):
                values = random.standard_normal((rows, columns)) * columns**-0.5
                data = values.astype("<f4").tobytes()
                content[f"{name}.lora_{side}"] = ((rows, columns), data)
    architecture = gguf_files.key("general.architecture", gguf_files.text(base.architecture))
    return files.gguf_adapter(content, files.gguf_keys(architecture=architecture))
