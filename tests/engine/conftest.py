"""Engines over small random models, for every instruction set of this machine."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.tiny_model import TinyModel

from realm.config import EngineConfig
from realm.engine import Engine
from realm.kernels import INSTRUCTION_SETS, _native
from realm.model import ModelStorage, StoredModel

RUNNING = [name for name in INSTRUCTION_SETS if _native.can_run(name)]
Loader = Callable[..., StoredModel]


@pytest.fixture(scope="session")
def load_tiny(tmp_path_factory: pytest.TempPathFactory) -> Loader:
    """load_tiny(isa, **fields of TinyModel): each combination is written and loaded once."""
    folder: Path = tmp_path_factory.mktemp("tiny-models")
    loaded: dict[tuple[object, ...], StoredModel] = {}

    def load(isa: str = "scalar", **fields: object) -> StoredModel:
        key = (isa, *sorted(fields.items()))
        if key not in loaded:
            path = folder / f"{len(loaded)}.gguf"
            TinyModel(**fields).write(path)  # type: ignore[arg-type]
            loaded[key] = ModelStorage(threads=2, isa=isa).load(path)
        return loaded[key]

    return load


@pytest.fixture(params=RUNNING)
def isa(request: pytest.FixtureRequest) -> str:
    """Each instruction set that this processor runs."""
    return str(request.param)


@pytest.fixture
def engine() -> Engine:
    """Two threads, default limits."""
    return Engine(EngineConfig(threads=2, cache_bytes=64 << 20))


def logits_of(engine: Engine, sequence: int) -> NDArray[np.float32]:
    """Ask one sequence for its logits and run steps until they are there."""
    engine.logits(sequence)
    while True:
        for output in engine.step():
            if output.sequence == sequence:
                assert output.logits is not None
                return output.logits
