"""Adapters that are packed out of their files by the threads that compute steps."""

import dataclasses
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.engine.conftest import Loader, run_together
from tests.engine.test_batch_invariance import prompt

from realm.cli.random_adapters import write_random_adapter
from realm.config import EngineConfig, SamplingParameters
from realm.engine import Engine
from realm.errors import AdapterFormatError, AdapterMismatchError
from realm.kernels import SideWork
from realm.lora import AdapterFile, load_adapter
from realm.lora.load import open_adapter
from realm.model import AdapterPrecision, PackedAdapter, StoredModel, WeightedAdapter

THREADS = os.cpu_count() or 1  # as many as there are: steps leave no core for the loads
LOADS = 24


def pack(
    model: StoredModel, path: Path, side_work: SideWork, precision: AdapterPrecision = "int8"
) -> PackedAdapter:
    with open_adapter(path, model.adapter_base) as file:
        return model.pack_adapter_file(file, side_work, precision)


def logits(model: StoredModel, packed: PackedAdapter) -> bytes:
    return model.logits(prompt(model, 1, 9), [WeightedAdapter(packed)]).tobytes()


@pytest.mark.parametrize("precision", ["int8", "bfloat16"])
@pytest.mark.parametrize("rank", [1, 5, 16, 64])
def test_from_the_file_or_from_numbers(
    load_tiny: Loader, isa: str, tmp_path: Path, rank: int, precision: AdapterPrecision
) -> None:
    """The same bits, the same digest."""
    model = load_tiny(isa)
    path = write_random_adapter(tmp_path / "a.gguf", model.adapter_base, rank, seed=rank)
    adapter = load_adapter(path, model.adapter_base)
    of_numbers = model.pack_adapter(adapter, precision)
    of_file = pack(model, path, SideWork(), precision)
    assert of_file.digest == of_numbers.digest == adapter.digest
    assert of_file.byte_size == of_numbers.byte_size
    assert logits(model, of_file) == logits(model, of_numbers)


def answers(model: StoredModel, engine: Engine) -> list[list[int]]:
    """Of three sequences that are computed together."""
    texts = {engine.open(model, "owner"): prompt(model, turn, 5 + turn) for turn in range(3)}
    found = run_together(engine, texts, 30, SamplingParameters(temperature=0.0))
    return [tokens for tokens, _ in found]


def while_stepping(model: StoredModel, work: Callable[[SideWork], None]) -> None:
    """Does the work while sequences are computed, which must not differ from others."""
    side_work = SideWork()
    config = EngineConfig(threads=THREADS, cache_bytes=1 << 28)
    engine = Engine(config, side_work=side_work)
    expected = answers(model, Engine(config))
    with ThreadPoolExecutor(1) as workers:
        busy = workers.submit(work, side_work)
        while not busy.done():
            assert answers(model, engine) == expected
        busy.result()


def test_loads_beside_steps(load_tiny: Loader, isa: str, tmp_path: Path) -> None:
    """Neither the adapters nor the answers of others differ by a bit."""
    model = load_tiny(isa)
    paths = [
        write_random_adapter(tmp_path / f"{n}.gguf", model.adapter_base, 8 + n, seed=n)
        for n in range(LOADS)
    ]
    packed: list[PackedAdapter] = []

    def load_all(side_work: SideWork) -> None:
        with ThreadPoolExecutor(2) as loaders:
            packed.extend(loaders.map(lambda path: pack(model, path, side_work), paths))

    while_stepping(model, load_all)
    for path, found in zip(paths, packed, strict=True):
        expected = model.pack_adapter(load_adapter(path, model.adapter_base))
        assert found.digest == expected.digest
        assert logits(model, found) == logits(model, expected)


def test_what_only_the_disk_has(load_tiny: Loader, tmp_path: Path) -> None:
    """Steps do not wait for it: the loads' own threads read it."""
    model = load_tiny("scalar")
    path = write_random_adapter(tmp_path / "a.gguf", model.adapter_base, 64, seed=1)
    expected = logits(model, pack(model, path, SideWork()))
    packed: list[PackedAdapter] = []

    def load(side_work: SideWork) -> None:
        for _ in range(5):
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            packed.append(pack(model, path, side_work))

    while_stepping(model, load)
    assert {logits(model, each) for each in packed} == {expected}


def test_memory_that_another_adapter_had(load_tiny: Loader, isa: str, tmp_path: Path) -> None:
    """Nothing of it is left where ranks do not fill their vectors."""
    model = load_tiny(isa)
    base = model.adapter_base
    path = write_random_adapter(tmp_path / "a.gguf", base, 5, seed=1)
    large = write_random_adapter(tmp_path / "b.gguf", base, 61, seed=2)
    expected = logits(model, pack(model, path, SideWork()))
    for _ in range(3):
        logits(model, pack(model, large, SideWork()))  # given back at once
        assert logits(model, pack(model, path, SideWork())) == expected


def broken(path: Path, file: AdapterFile) -> dict[str, bytes]:
    """Contents under one header that cannot be packed: the file's last tensor is at fault, or a
    scale that is as large as any."""
    content = path.read_bytes()
    position = int(file.layout.table[:, 0].max())

    def with_number(number: float) -> bytes:
        return content[:position] + np.float16(number).tobytes() + content[position + 2 :]

    return {
        "ends": content[: position + 3],
        "endless": with_number(np.inf),
        "large": with_number(60000),
    }


@pytest.mark.parametrize("kind", ["ends", "endless"])
def test_faults_beside_steps(load_tiny: Loader, isa: str, tmp_path: Path, kind: str) -> None:
    """They name the tensor, whichever thread met them; steps go on."""
    model = load_tiny(isa)
    path = write_random_adapter(tmp_path / "a.gguf", model.adapter_base, 8, seed=1)
    errors: list[str] = []

    def load(side_work: SideWork) -> None:
        with open_adapter(path, model.adapter_base) as file:
            name = file.layout.names[int(file.layout.table[:, 0].argmax())]
            path.write_bytes(broken(path, file)[kind])
            for _ in range(3):
                with pytest.raises(AdapterFormatError, match=name) as caught:
                    model.pack_adapter_file(file, side_work)
                errors.append(str(caught.value))

    while_stepping(model, load)
    assert len(set(errors)) == 1
    assert ("ends within it" if kind == "ends" else "holds inf") in errors[0]


def test_what_the_precision_cannot_hold(load_tiny: Loader, isa: str, tmp_path: Path) -> None:
    model = load_tiny(isa)
    path = write_random_adapter(tmp_path / "a.gguf", model.adapter_base, 8, seed=1)
    with open_adapter(path, model.adapter_base) as file:
        path.write_bytes(broken(path, file)["large"])
        layout = dataclasses.replace(file.layout, scales=np.full_like(file.layout.scales, 1e38))
        too_large = dataclasses.replace(file, layout=layout)
        with pytest.raises(AdapterMismatchError, match="too large"):
            model.pack_adapter_file(too_large, SideWork())


def test_many_loads_without_an_engine(load_tiny: Loader, tmp_path: Path) -> None:
    model = load_tiny("scalar")
    path = write_random_adapter(tmp_path / "a.gguf", model.adapter_base, 16, seed=1)
    side_work = SideWork()
    digests: set[bytes] = set()
    lock = threading.Lock()

    def load(_: int) -> None:
        digest = pack(model, path, side_work).digest
        with lock:
            digests.add(digest)

    with ThreadPoolExecutor(4) as loaders:
        list(loaders.map(load, range(16)))
    assert digests == {load_adapter(path, model.adapter_base).digest}
