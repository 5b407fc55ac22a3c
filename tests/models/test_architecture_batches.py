"""No neighbour, chunk or thread changes a bit: scaled residuals, soft caps, fused tensors."""

from functools import cache
from pathlib import Path

import pytest
from tests.engine.conftest import RUNNING
from tests.engine.test_batch_invariance import assert_same, prompt, trace
from tests.models.hugging_face_to_gguf import write_gguf
from tests.models.small_models import SMALL_MODELS
from tests.oracle.layer_runner import run_layer

from realm.model import ModelStorage, StoredModel

MODELS = [("granite", "Q8_0"), ("gemma2", "Q4_0"), ("phi3-long", "Q8_0"), ("qwen2", "F32")]


@cache
def loaded(folder: Path, name: str, block_type: str, isa: str) -> StoredModel:
    small = SMALL_MODELS[name]
    path = folder / f"{name}-{isa}.gguf"
    write_gguf(small.build(), small.architecture, path, block_type)
    return ModelStorage(threads=2, isa=isa).load(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where this file's models stand."""
    return tmp_path_factory.mktemp("architecture-batches")


@pytest.fixture(params=RUNNING)
def isa(request: pytest.FixtureRequest) -> str:
    """Each instruction set that this processor runs."""
    return str(request.param)


@pytest.mark.parametrize(("name", "block_type"), MODELS)
def test_in_a_batch(folder: Path, isa: str, name: str, block_type: str) -> None:
    model = loaded(folder, name, block_type, isa)
    prompts = [prompt(model, seed, 3 + 11 * seed % 90) for seed in range(17)]
    alone = [trace(model, [ids], tokens=6)[0] for ids in prompts]
    for size in (2, 3, 8, 9, 17):
        together = trace(model, prompts[:size], tokens=6)
        for actual, expected in zip(together, alone, strict=False):
            assert_same(actual, expected)


@pytest.mark.parametrize(("name", "block_type"), MODELS)
def test_in_chunks_and_threads(folder: Path, isa: str, name: str, block_type: str) -> None:
    model = loaded(folder, name, block_type, isa)
    ids = prompt(model, 1, 101)
    whole = trace(model, [ids], tokens=3, threads=1)[0]
    for chunk, threads in ((1, 2), (5, 1), (8, 3), (31, 2), (33, 4), (100, 2)):
        assert_same(trace(model, [ids], tokens=3, chunk=chunk, threads=threads)[0], whole)


@pytest.mark.parametrize("name", ["granite", "gemma2"])
def test_layer_by_layer(folder: Path, name: str) -> None:
    """A branch that waits for its scale or norm is added before hidden states leave a step."""
    model = loaded(folder, name, "F32", "")
    ids = prompt(model, 2, 70)
    hidden = model.embed(ids)
    for layer in range(model.hyperparameters.layer_count):
        hidden = run_layer(model, layer, hidden)
    assert model.compute_logits(hidden[-1]).tobytes() == model.logits(ids)[-1].tobytes()
