"""Engines over small random models, for every instruction set of this machine."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.tiny_model import TinyModel

from realm.config import EngineConfig, SamplingParameters
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


def run_together(
    engine: Engine, texts: Mapping[int, list[int]], tokens: int, sampling: SamplingParameters
) -> list[tuple[list[int], NDArray[np.float32]]]:
    """So many tokens after each text, and the logits after them; all run at once.

    texts: of open sequences, in the order of the answer. Each is closed when it has its logits.
    """
    sampled: dict[int, list[int]] = {number: [] for number in texts}
    logits: dict[int, NDArray[np.float32]] = {}
    for number, text in texts.items():
        engine.append(number, text)
        engine.sample(number, sampling)
    while engine.has_work:
        for output in engine.step():
            assert output.error is None
            if output.logits is not None:
                logits[output.sequence] = output.logits
                engine.close(output.sequence)
                continue
            mine = sampled[output.sequence]
            mine += output.token_ids
            if len(mine) < tokens:
                engine.sample(output.sequence, sampling)
            else:
                engine.logits(output.sequence)
    return [(sampled[number], logits[number]) for number in texts]
