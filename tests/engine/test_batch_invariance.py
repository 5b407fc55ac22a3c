"""No neighbour, chunk or page boundary changes one bit of a session (invariant 2)."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engine.conftest import RUNNING, Loader, run_together

from realm.config import EngineConfig, SamplingParameters
from realm.engine import Engine
from realm.kernels import can_pack
from realm.kernels.block_types import BlockType
from realm.model import ModelStorage, StoredModel

GREEDY = SamplingParameters(temperature=0.0)
DRAWN = SamplingParameters(temperature=1.0, top_p=0.95, seed=11, repetition_penalty=1.1)


def prompt(model: StoredModel, seed: int, length: int) -> list[int]:
    vocabulary = model.hyperparameters.vocabulary_size
    return np.random.default_rng(seed).integers(0, vocabulary, length).tolist()


def trace(
    model: StoredModel,
    prompts: list[list[int]],
    *,
    tokens: int,
    sampling: SamplingParameters = GREEDY,
    chunk: int = 512,
    threads: int = 2,
) -> list[tuple[list[int], NDArray[np.float32]]]:
    """Every prompt's continuation, and the logits after it; all run in one engine together."""
    config = EngineConfig(
        threads=threads, cache_bytes=1 << 30, step_tokens=chunk, prefill_chunk_tokens=chunk
    )
    engine = Engine(config)
    texts = {engine.open(model, f"tenant-{index % 5}"): ids for index, ids in enumerate(prompts)}
    return run_together(engine, texts, tokens, sampling)


def assert_same(
    actual: tuple[list[int], NDArray[np.float32]], expected: tuple[list[int], NDArray[np.float32]]
) -> None:
    assert actual[0] == expected[0]
    assert actual[1].tobytes() == expected[1].tobytes()


MODELS = [
    {"architecture": "llama", "block_type": "Q4_1"},
    {"architecture": "llama", "block_type": "Q4_0", "head_block_type": "Q5_0"},
    {"architecture": "llama", "block_type": "F16", "head_block_type": "F16"},
    {"architecture": "llama", "block_type": "Q8_0", "head_size": 16},
    {"architecture": "gemma3", "block_type": "Q5_1"},
    {"architecture": "gemma3", "block_type": "F32", "head_block_type": "Q8_0"},
]


@pytest.mark.parametrize("fields", MODELS, ids=lambda f: "-".join(map(str, f.values())))
def test_in_a_batch_of_1_to_17(load_tiny: Loader, isa: str, fields: dict[str, str]) -> None:
    model = load_tiny(isa, **fields)
    prompts = [prompt(model, seed, 3 + 11 * seed % 90) for seed in range(17)]
    alone = [trace(model, [ids], tokens=9)[0] for ids in prompts]
    for size in range(1, 18):
        together = trace(model, prompts[:size], tokens=9)
        for index in (0, size // 2, size - 1):
            assert_same(together[index], alone[index])


@pytest.mark.parametrize("fields", MODELS, ids=lambda f: "-".join(map(str, f.values())))
def test_in_chunks_of_any_size(load_tiny: Loader, isa: str, fields: dict[str, str]) -> None:
    model = load_tiny(isa, **fields)
    ids = prompt(model, 1, 101)
    whole = trace(model, [ids], tokens=3)[0]
    for chunk in (1, 2, 5, 8, 9, 31, 32, 33, 64, 100):
        assert_same(trace(model, [ids], tokens=3, chunk=chunk)[0], whole)


def test_drawn_tokens_are_the_same_alone_and_in_a_crowd(load_tiny: Loader, isa: str) -> None:
    model = load_tiny(isa)
    prompts = [prompt(model, seed, 20) for seed in range(9)]
    alone = [trace(model, [ids], tokens=20, sampling=DRAWN)[0] for ids in prompts]
    together = trace(model, prompts, tokens=20, sampling=DRAWN, chunk=37)
    for actual, expected in zip(together, alone, strict=True):
        assert_same(actual, expected)
    assert len({tuple(each[0]) for each in alone}) > 1


def test_thread_counts_do_not_change_bits(load_tiny: Loader, isa: str) -> None:
    model = load_tiny(isa, architecture="gemma3")
    ids = prompt(model, 3, 70)
    expected = trace(model, [ids], tokens=5, threads=1)[0]
    for threads in (2, 3, 4):
        assert_same(trace(model, [ids], tokens=5, threads=threads)[0], expected)


@pytest.mark.parametrize("fields", MODELS[::4], ids=lambda f: "-".join(map(str, f.values())))
def test_in_long_contexts(load_tiny: Loader, isa: str, fields: dict[str, str]) -> None:
    # Past 512 tokens, threads share one session's attention when there are few sessions.
    model = load_tiny(isa, **fields)
    prompts = [prompt(model, seed, 700 - 60 * seed) for seed in range(9)]
    alone = trace(model, prompts[:1], tokens=4)[0]
    assert_same(trace(model, prompts, tokens=4)[0], alone)
    for chunk, threads in ((90, 2), (512, 1), (700, 4)):
        assert_same(trace(model, prompts[:1], tokens=4, chunk=chunk, threads=threads)[0], alone)


BLOCK_TYPES = [each.name for each in BlockType if can_pack(int(each))]


@pytest.mark.parametrize("block_type", BLOCK_TYPES)
def test_every_block_type(load_tiny: Loader, isa: str, block_type: str) -> None:
    # Blocks of 256 elements want rows of so many.
    whole = {"hidden": 256, "heads": 8, "feed_forward": 256}
    model = load_tiny(isa, block_type=block_type, head_block_type=block_type, **whole)
    prompts = [prompt(model, seed, 4 + 7 * seed % 40) for seed in range(9)]
    alone = [trace(model, [ids], tokens=3)[0] for ids in prompts]
    for size, chunk in ((2, 512), (7, 33), (8, 5), (9, 512)):
        together = trace(model, prompts[:size], tokens=3, chunk=chunk, threads=1 + size % 2)
        for actual, expected in zip(together, alone, strict=False):
            assert_same(actual, expected)


@pytest.mark.parametrize("isa_name", RUNNING)
@pytest.mark.parametrize("which", ["smollm2_path", "gemma3_path"])
def test_real_models(request: pytest.FixtureRequest, which: str, isa_name: str) -> None:
    path: Path = request.getfixturevalue(which)
    model = ModelStorage(threads=2, isa=isa_name).load(path)
    is_slow = isa_name == "scalar"  # fewer rows, so that it takes half a minute and not a whole one
    lengths = [3 + seed if is_slow else 5 + 3 * seed for seed in range(17)]
    prompts = [prompt(model, seed, length) for seed, length in enumerate(lengths)]
    alone = trace(model, [prompts[0]], tokens=4)[0]
    for size in (2, 6, 17) if is_slow else (2, 5, 6, 9, 17):
        assert_same(trace(model, prompts[:size], tokens=4)[0], alone)
    long = prompt(model, 99, 40 if is_slow else 75)
    whole = trace(model, [long], tokens=2)[0]
    for chunk in (7, 32) if is_slow else (7, 32, 50):
        assert_same(trace(model, [long], tokens=2, chunk=chunk)[0], whole)
