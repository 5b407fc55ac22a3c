"""Sequences: forks, rewinds, limits, and what a step answers."""

import numpy as np
import pytest
from tests.engine.conftest import Loader, logits_of

from realm.config import EngineConfig, SamplingParameters
from realm.engine import Engine
from realm.errors import CapacityError, ContextLengthError, ModelNotFoundError, RequestError

GREEDY = SamplingParameters(temperature=0.0)
TEXT = list(range(10, 80))


def sample(engine: Engine, sequence: int, count: int) -> list[int]:
    tokens: list[int] = []
    while len(tokens) < count:
        engine.sample(sequence, GREEDY)
        while engine.has_work:
            for output in engine.step():
                assert output.sequence == sequence
                tokens += output.token_ids
    return tokens


def test_the_session_path_equals_the_evaluation_path(
    load_tiny: Loader, engine: Engine, isa: str
) -> None:
    model = load_tiny(isa)
    sequence = engine.open(model, "a")
    engine.append(sequence, TEXT)
    assert logits_of(engine, sequence).tobytes() == model.logits(TEXT)[-1].tobytes()


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_layer_by_layer_gives_the_bits_of_the_session_path(
    load_tiny: Loader, engine: Engine, isa: str, architecture: str
) -> None:
    model = load_tiny(isa, architecture=architecture)
    expected = model.logits(TEXT)[-1]
    scratch = engine.open(model, "a")
    hidden = model.embed(TEXT)
    for layer in range(model.hyperparameters.layer_count):
        # In two parts, at their positions: the second sees the first one's keys and values.
        first = engine.forward_layer(scratch, layer, hidden[:33], 0)
        second = engine.forward_layer(scratch, layer, hidden[33:], 33)
        hidden = np.concatenate([first, second])
    assert model.compute_logits(hidden[-1]).tobytes() == expected.tobytes()


def test_forward_layer_refuses_gaps_and_wrong_shapes(load_tiny: Loader, engine: Engine) -> None:
    model = load_tiny()
    scratch = engine.open(model, "a")
    hidden = model.embed(TEXT[:3])
    with pytest.raises(RequestError, match="gap"):
        engine.forward_layer(scratch, 0, hidden, 40)
    engine.forward_layer(scratch, 0, hidden, 0)
    with pytest.raises(RequestError, match="gap: the layer's cache ends before 3"):
        engine.forward_layer(scratch, 0, hidden, 4)  # in the same page, where nothing stands
    with pytest.raises(RequestError, match="gap: the layer's cache ends before 0"):
        engine.forward_layer(scratch, 1, hidden, 3)  # another layer has come so far
    with pytest.raises(RequestError, match="layer 3"):
        engine.forward_layer(scratch, 3, hidden, 0)
    with pytest.raises(RequestError, match="hidden states"):
        engine.forward_layer(scratch, 0, hidden[:, :-1], 0)
    with pytest.raises(ContextLengthError):
        engine.forward_layer(scratch, 0, np.zeros((1025, 96), np.float32), 0)


def test_a_fork_goes_its_own_way_and_leaves_the_original_alone(
    load_tiny: Loader, engine: Engine
) -> None:
    model = load_tiny()
    original = engine.open(model, "a")
    engine.append(original, TEXT)
    sample(engine, original, 5)
    fork = engine.fork(original)
    engine.append(fork, [1, 2, 3])
    forked = logits_of(engine, fork)
    continued = sample(engine, original, 40)

    fresh = engine.open(model, "b")
    engine.append(fresh, TEXT)
    again = sample(engine, fresh, 45)
    assert again[5:] == continued
    expected = model.logits([*TEXT, *again[:5], 1, 2, 3])[-1]
    assert forked.tobytes() == expected.tobytes()


def test_rewinding_a_fork_does_not_write_on_shared_pages(load_tiny: Loader, engine: Engine) -> None:
    model = load_tiny()
    original = engine.open(model, "a")
    engine.append(original, TEXT)
    before = logits_of(engine, original)
    fork = engine.fork(original)
    engine.rewind(fork, 40)
    engine.append(fork, [5] * 30)
    logits_of(engine, fork)
    assert logits_of(engine, original).tobytes() == before.tobytes()


def test_rewind_is_as_if_it_had_never_been(load_tiny: Loader, engine: Engine) -> None:
    model = load_tiny()
    sequence = engine.open(model, "a")
    engine.append(sequence, TEXT)
    sample(engine, sequence, 3)
    engine.rewind(sequence, 50)
    assert engine.position(sequence) == 50
    engine.append(sequence, [7, 8, 9])
    expected = model.logits([*TEXT[:50], 7, 8, 9])[-1]
    assert logits_of(engine, sequence).tobytes() == expected.tobytes()


def test_closing_frees_every_page_also_while_waiting(load_tiny: Loader, engine: Engine) -> None:
    model = load_tiny()
    first = engine.open(model, "a")
    total = engine.free_page_count(model)
    engine.append(first, TEXT)
    sample(engine, first, 1)
    fork = engine.fork(first)
    engine.sample(fork, GREEDY)
    assert engine.free_page_count(model) < total
    engine.close(fork)
    engine.close(first)
    assert not engine.has_work
    assert engine.step() == []
    assert engine.free_page_count(model) == total
    with pytest.raises(ModelNotFoundError):
        engine.position(first)


def test_a_full_cache_fails_one_sequence_and_spares_the_others(load_tiny: Loader) -> None:
    model = load_tiny()
    engine = Engine(EngineConfig(threads=1, cache_bytes=4 * model.native.page_bytes()))
    small, large = engine.open(model, "a"), engine.open(model, "b")
    engine.append(small, TEXT[:20])
    engine.append(large, TEXT * 2)
    engine.sample(small, GREEDY)
    engine.sample(large, GREEDY)
    outputs = {output.sequence: output for output in engine.step()}
    assert isinstance(outputs[large].error, CapacityError)
    assert outputs[small].error is None
    assert outputs[small].token_ids == (int(model.logits(TEXT[:20])[-1].argmax()),)


def test_a_cache_smaller_than_a_page_is_refused(load_tiny: Loader) -> None:
    with pytest.raises(CapacityError, match="one cache page"):
        Engine(EngineConfig(threads=1, cache_bytes=100)).open(load_tiny(), "a")


def test_requests_are_checked(load_tiny: Loader, engine: Engine) -> None:
    model = load_tiny()
    sequence = engine.open(model, "a")
    with pytest.raises(RequestError, match="no tokens"):
        engine.sample(sequence, GREEDY)
    with pytest.raises(RequestError, match="token id 320 at index 1"):
        engine.append(sequence, [0, 320])
    with pytest.raises(ContextLengthError, match="1025 tokens"):
        engine.append(sequence, [0] * 1025)
    assert engine.position(sequence) == 0
    engine.append(sequence, [0] * 1024)
    with pytest.raises(ContextLengthError):
        engine.sample(sequence, GREEDY)
    engine.logits(sequence)
    with pytest.raises(RequestError, match="already waits"):
        engine.logits(sequence)
    with pytest.raises(RequestError, match="waits for an answer"):
        engine.rewind(sequence, 3)


def test_penalties_change_what_was_seen(load_tiny: Loader, engine: Engine) -> None:
    model = load_tiny()
    favourite = int(model.logits(TEXT)[-1].argmax())
    sequence = engine.open(model, "a")
    engine.append(sequence, [favourite, *TEXT])
    best = sample(engine, sequence, 1)[0]
    engine.rewind(sequence, len(TEXT) + 1)
    engine.append(sequence, [])
    # Seen in the prompt: the repetition penalty counts it, presence and frequency do not.
    logits = model.logits([favourite, *TEXT])[-1].astype(np.float64)
    seen = sorted({favourite, *TEXT})
    logits[seen] = np.where(logits[seen] > 0, logits[seen] / 5, logits[seen] * 5)
    policy = SamplingParameters(
        temperature=0.0, repetition_penalty=5.0, presence_penalty=100.0, frequency_penalty=100.0
    )
    engine.sample(sequence, policy)
    (output,) = engine.step()
    assert output.token_ids == (int(logits.argmax()),)
    assert output.token_ids != (best,) or best not in seen


def test_many_sequences_grow_the_page_table(load_tiny: Loader, engine: Engine) -> None:
    model = load_tiny()
    numbers = [engine.open(model, "a") for _ in range(70)]
    for number in numbers:
        engine.append(number, TEXT[: 1 + number % 7])
        engine.sample(number, GREEDY)
    answers = {output.sequence: output.token_ids[0] for output in engine.step()}
    for number in numbers[::9]:
        expected = int(model.logits(TEXT[: 1 + number % 7])[-1].argmax())
        assert answers[number] == expected
