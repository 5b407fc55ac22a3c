"""Too few pages: everyone waits, nobody fails, and no bit of a result changes."""

import numpy as np
import pytest
from tests.engine.conftest import Loader, logits_of, run_together

from realm.config import EngineConfig, SamplingParameters
from realm.engine import Engine
from realm.errors import CapacityError, RequestError
from realm.model import StoredModel

DRAWN = SamplingParameters(temperature=1.0, top_p=0.95, seed=11, repetition_penalty=1.1)
GREEDY = SamplingParameters(temperature=0.0)


def engine_of(model: StoredModel, pages: int, **config: object) -> Engine:
    return Engine(
        EngineConfig(threads=2, cache_bytes=pages * model.native.page_bytes(), **config)  # type: ignore[arg-type]
    )


def prompts(model: StoredModel, count: int) -> list[list[int]]:
    draw = np.random.default_rng(5)
    vocabulary = model.hyperparameters.vocabulary_size
    return [draw.integers(0, vocabulary, draw.integers(3, 130)).tolist() for _ in range(count)]


def run(
    engine: Engine, model: StoredModel, texts: list[list[int]], tokens: int, priority: bool = False
) -> list[tuple[list[int], bytes]]:
    """Each text's continuation and the logits after it."""
    sequences = {
        engine.open(model, f"tenant-{index % 3}", index % 3 if priority else 0): text
        for index, text in enumerate(texts)
    }
    return [(ids, ends.tobytes()) for ids, ends in run_together(engine, sequences, tokens, DRAWN)]


@pytest.mark.parametrize("prefix_cache", [False, True])
@pytest.mark.parametrize("priority", [False, True])
def test_results_are_those_of_a_run_alone(
    load_tiny: Loader, isa: str, prefix_cache: bool, priority: bool
) -> None:
    model = load_tiny(isa)
    texts = prompts(model, 24)
    alone = [run(engine_of(model, 40), model, [text], 40)[0] for text in texts]
    engine = engine_of(
        model, 12, prefix_cache=prefix_cache, displacement_tokens=64, step_tokens=48,
        prefill_chunk_tokens=20,
    )  # fmt: skip
    assert run(engine, model, texts, 40, priority) == alone
    assert engine.preemption_count > 3
    assert engine.free_page_count(model) == 12


def test_what_can_never_fit_is_told_at_once_and_the_rest_waits(load_tiny: Loader) -> None:
    model = load_tiny()
    engine = engine_of(model, 4)
    numbers = [engine.open(model, "a") for _ in range(5)]
    for number, text in zip(
        numbers, [[1] * 100, [2] * 129, [3] * 128, [4] * 5, [5] * 90], strict=True
    ):
        engine.append(number, text)
        engine.sample(number, GREEDY)
    errors: dict[int, object] = {}
    outputs = engine.step()
    while engine.has_work:
        outputs += engine.step()
    for output in outputs:
        errors[output.sequence] = output.error
    assert isinstance(errors.pop(numbers[1]), CapacityError)
    assert errors == {number: None for number in numbers if number != numbers[1]}
    # 128 tokens filled every page; the token that was sampled after them has no place.
    engine.sample(numbers[2], GREEDY)
    (output,) = engine.step()
    assert isinstance(output.error, CapacityError)


def test_sessions_that_rest_give_way_and_come_back(load_tiny: Loader) -> None:
    model = load_tiny()
    engine = engine_of(model, 8, prefix_cache=False)
    texts = prompts(model, 6)
    numbers = [engine.open(model, "a") for _ in texts]
    for _ in range(2):
        for number, text in zip(numbers, texts, strict=True):
            engine.append(number, text)
            tokens = [*text] if engine.position(number) == len(text) else [*text, *text]
            assert logits_of(engine, number).tobytes() == model.logits(tokens)[-1].tobytes()
    assert engine.preemption_count == 0
    for number in numbers:
        engine.close(number)
    assert engine.free_page_count(model) == 8


def test_a_layer_by_layer_sequence_is_never_taken_from(load_tiny: Loader) -> None:
    model = load_tiny()
    engine = engine_of(model, 4)
    hidden = model.embed(list(range(64)))
    plain = engine.open(model, "a")
    engine.append(plain, [7] * 100)
    expected = logits_of(engine, plain)
    layers = engine.open(model, "b")
    engine.forward_layer(layers, 0, hidden, 0)  # takes the pages of `plain`, which rests
    engine.logits(plain)
    assert engine.step() == []
    assert not engine.has_work  # it waits, and no step would change that
    with pytest.raises(CapacityError):
        other = engine.open(model, "c")
        engine.forward_layer(other, 0, np.concatenate([hidden, hidden]), 0)
    engine.close(layers)
    assert engine.has_work
    (output,) = engine.step()
    assert output.logits is not None
    assert output.logits.tobytes() == expected.tobytes()


def test_tokens_and_layers_do_not_mix(load_tiny: Loader, engine: Engine) -> None:
    model = load_tiny()
    hidden = model.embed([1, 2, 3])
    tokens, layers = engine.open(model, "a"), engine.open(model, "a")
    engine.append(tokens, [1])
    with pytest.raises(RequestError, match="has tokens"):
        engine.forward_layer(tokens, 0, hidden, 0)
    engine.forward_layer(layers, 0, hidden, 0)
    with pytest.raises(RequestError, match="layer by layer"):
        engine.append(layers, [1])


def test_a_fork_of_a_sequence_at_work_does_not_share_what_is_written(load_tiny: Loader) -> None:
    model = load_tiny()
    engine = engine_of(model, 20, step_tokens=40, prefill_chunk_tokens=40)
    text = prompts(model, 1)[0] * 3
    original = engine.open(model, "a")
    engine.append(original, text)
    engine.logits(original)
    engine.step()
    fork = engine.fork(original)
    engine.rewind(fork, 35)
    engine.append(fork, [9] * 20)
    engine.logits(fork)
    answers: dict[int, bytes] = {}
    while engine.has_work:
        for output in engine.step():
            assert output.logits is not None
            answers[output.sequence] = output.logits.tobytes()
    assert answers[original] == model.logits(text)[-1].tobytes()
    assert answers[fork] == model.logits([*text[:35], *[9] * 20])[-1].tobytes()
