"""Keys and values held as int8: other bits than float16, and as little of anybody else in them."""

import numpy as np
import pytest
from tests.engine.conftest import Loader, logits_of, run_together

from realm.config import EngineConfig, SamplingParameters
from realm.engine import Engine
from realm.errors import ConfigError
from realm.kernels import PAGE_TOKENS
from realm.model import StoredModel

MODELS = [
    {"architecture": "llama", "block_type": "Q4_1"},
    {"architecture": "gemma3", "block_type": "Q5_1"},
]
DRAWN = SamplingParameters(temperature=1.0, top_p=0.95, seed=11, repetition_penalty=1.1)


def int8_engine(**fields: object) -> Engine:
    config = {"threads": 2, "cache_bytes": 64 << 20, **fields}
    return Engine(EngineConfig(cache_precision="int8", **config))  # type: ignore[arg-type]


def prompt(model: StoredModel, seed: int, length: int) -> list[int]:
    vocabulary = model.hyperparameters.vocabulary_size
    return np.random.default_rng(seed).integers(0, vocabulary, length).tolist()


def continuations(
    engine: Engine, model: StoredModel, prompts: list[list[int]], draft_k: int = 0
) -> list[tuple[list[int], bytes]]:
    """24 tokens of each, all together, and the bits of the logits after them."""
    texts = {
        engine.open(model, f"tenant-{index % 3}", draft_k=draft_k): ids
        for index, ids in enumerate(prompts)
    }
    return [(ids, ends.tobytes()) for ids, ends in run_together(engine, texts, 24, DRAWN)]


@pytest.mark.parametrize("fields", MODELS, ids=lambda fields: fields["architecture"])
def test_nobody_changes_a_bit(load_tiny: Loader, isa: str, fields: dict[str, str]) -> None:
    model = load_tiny(isa, **fields)
    prompts = [prompt(model, seed, 3 + 17 * seed) for seed in range(9)]
    together = continuations(int8_engine(), model, prompts)
    chunked = int8_engine(threads=1, step_tokens=13, prefill_chunk_tokens=7)
    assert continuations(chunked, model, prompts) == together
    engine = int8_engine()
    for ids, expected in zip(prompts, together, strict=True):
        assert continuations(engine, model, [ids]) == [expected]
        assert continuations(engine, model, [ids]) == [expected], "from pages that were kept"


def test_drafts_change_nothing(load_tiny: Loader) -> None:
    model = load_tiny("scalar", **MODELS[0])
    prompts = [prompt(model, 3, 12) * 6]
    assert continuations(int8_engine(), model, prompts, 8) == continuations(
        int8_engine(), model, prompts
    )


def test_forks_and_rewinds(load_tiny: Loader) -> None:
    model = load_tiny("scalar", **MODELS[0])
    ids = prompt(model, 5, 75)
    engine = int8_engine()
    first = engine.open(model, "a")
    engine.append(first, ids)
    expected = logits_of(engine, first).tobytes()
    second = engine.fork(first)
    engine.append(second, ids[:9])
    logits_of(engine, second)
    engine.rewind(first, 40)
    engine.append(first, ids[40:])
    assert logits_of(engine, first).tobytes() == expected
    engine.rewind(second, len(ids))
    assert logits_of(engine, second).tobytes() == expected


@pytest.mark.parametrize("fields", MODELS, ids=lambda fields: fields["architecture"])
def test_it_is_near_to_float16(load_tiny: Loader, isa: str, fields: dict[str, str]) -> None:
    model = load_tiny(isa, **fields)
    ids = prompt(model, 7, 3 * PAGE_TOKENS + 5)
    exact = model.logits(ids).astype(np.float64)
    near = model.logits(ids, cache_precision="int8")
    error = np.linalg.norm(near - exact) / np.linalg.norm(exact)
    assert 0.0 < error < 0.04
    engine = int8_engine()
    number = engine.open(model, "a")
    engine.append(number, ids)
    assert logits_of(engine, number).tobytes() == near[-1].tobytes()


def test_more_pages_find_room(load_tiny: Loader) -> None:
    model = load_tiny("scalar", **MODELS[0])
    wide, narrow = model.native.page_bytes(), model.native.page_bytes("int8")
    head = model.hyperparameters.head_size
    assert narrow / wide == (head + 2 * -(-head // 32)) / (2 * head)
    engine = int8_engine(cache_bytes=100 * narrow)
    number = engine.open(model, "a")
    engine.append(number, prompt(model, 1, 5))
    logits_of(engine, number)
    assert engine.free_page_count(model) == 99


def test_a_precision_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match="cache_precision is float16 or int8, not 'int4'"):
        EngineConfig(cache_precision="int4")  # type: ignore[arg-type]
