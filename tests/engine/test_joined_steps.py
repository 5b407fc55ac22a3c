"""Steps that one native call computes together: the same tokens, and nobody waits longer."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

import numpy as np
import pytest
from tests.engine.changes import fork, other_policy, other_tokens, rewind
from tests.engine.conftest import Loader
from tests.engine.decoding import GREEDY, PROMPT, Decoding
from tests.random_adapters import random_adapter
from tests.tiny_model import VOCABULARY

from realm.config import EngineConfig, SamplingParameters, SpeculativeConfig
from realm.engine import Engine
from realm.engine.joining import JOINED_GAIN, MOST_STEPS, STEADY_TOKENS
from realm.errors import NativeError
from realm.kernels import Interrupt
from realm.model import StoredModel, WeightedAdapter

SAMPLED = SamplingParameters(temperature=1.2, seed=11)
POLICIES = {
    "greedy": GREEDY,
    "sampled": SAMPLED,
    "penalties": SamplingParameters(
        temperature=0.9, seed=5, repetition_penalty=1.3, frequency_penalty=0.5, presence_penalty=0.2
    ),
    "bias": SamplingParameters(temperature=0.8, seed=2, logit_bias=((7, 3.0), (9, 2.0))),
}
COUNT = 60
NO_DRAFTS = SpeculativeConfig(draft_k=0)


def engine_with(joined_seconds: float = 1.0, speculation: SpeculativeConfig = NO_DRAFTS) -> Engine:
    """Each look at the clock takes a microsecond."""
    ticks = itertools.count()
    config = EngineConfig(
        threads=2,
        cache_bytes=64 << 20,
        joined_seconds=joined_seconds,
        speculation=speculation,
    )
    return Engine(config, lambda: next(ticks) * 1e-6)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_the_same_tokens_in_fewer_calls(load_tiny: Loader, isa: str, name: str, batch: int) -> None:
    model = load_tiny(isa)
    packed = model.pack_adapter(random_adapter(model.adapter_base, rank=8))
    found = []
    for joined_seconds in (0.0, 1.0):
        decoding = Decoding(engine_with(joined_seconds), model)
        for index in range(batch):
            policy = dataclasses.replace(POLICIES[name], seed=index)
            adapters = [WeightedAdapter(packed, 0.5)] if index % 3 == 1 else []
            decoding.begin(policy, PROMPT[index:], adapters)
        found.append(decoding.run(COUNT))
        if joined_seconds == 0.0:
            assert decoding.calls == decoding.engine.step_count
        else:
            assert decoding.calls < decoding.engine.step_count
            most = COUNT if batch == 1 else COUNT + MOST_STEPS  # none is computed in vain
            assert decoding.engine.step_count <= most
    assert found[0] == found[1]


def test_one_call_has_so_many_steps(load_tiny: Loader) -> None:
    decoding = Decoding(engine_with(), load_tiny())
    decoding.begin(GREEDY)
    decoding.run(COUNT)
    calls, drawn = STEADY_TOKENS, STEADY_TOKENS
    while drawn < COUNT:
        drawn += min(drawn // 2, MOST_STEPS)
        calls += 1
    assert decoding.calls == calls


def test_fewer_steps_where_there_are_not_the_pages_for_more(load_tiny: Loader) -> None:
    model, steps = load_tiny(), []
    pages = 2 * model.native.page_bytes()
    config = EngineConfig(threads=2, cache_bytes=pages, joined_seconds=1e3, speculation=NO_DRAFTS)
    engine = Engine(config)
    number = engine.open(model, "a")
    engine.append(number, PROMPT)
    while sum(steps) < 30:  # the pages hold 32 behind the prompt
        before = engine.step_count
        engine.sample(number, GREEDY, more=30)
        assert all(each.error is None for each in engine.step())
        if engine.step_count > before:
            steps.append(engine.step_count - before)
    assert steps == [1] * STEADY_TOKENS + [4, 6, 8, 4]


def test_time_is_limited(load_tiny: Loader) -> None:
    decoding = Decoding(engine_with(1.5e-6), load_tiny())  # a step takes one microsecond
    decoding.begin(GREEDY)
    decoding.run(COUNT)
    assert decoding.calls == COUNT


def test_an_interrupt_ends_it(load_tiny: Loader) -> None:
    decoding = Decoding(engine_with(), load_tiny())
    decoding.begin(GREEDY)
    decoding.engine.interrupt.set()
    decoding.run(COUNT)
    assert decoding.calls == COUNT


def test_nothing_follows_the_end_of_a_text(load_tiny: Loader) -> None:
    model = load_tiny()
    (end,) = model.tokenizer.end_of_generation_ids
    decoding = Decoding(engine_with(), model)
    decoding.begin(dataclasses.replace(GREEDY, logit_bias=((end, 1000.0),)))
    assert decoding.run(COUNT) == [[end] * COUNT]
    assert decoding.calls == COUNT


def mask(engine: Engine, number: int) -> None:
    engine.sample(number, GREEDY, np.full(-(-VOCABULARY // 32), 0xFFFFFFFF, np.uint32), more=30)


def log_probabilities(engine: Engine, number: int) -> None:
    engine.sample(number, dataclasses.replace(GREEDY, logprobs=1), more=30)


def logits(engine: Engine, number: int) -> None:
    engine.logits(number)


@pytest.mark.parametrize("ask", [mask, log_probabilities, logits])
def test_what_is_computed_alone(load_tiny: Loader, ask: Callable[[Engine, int], None]) -> None:
    """Beside a sequence that wants more than a token, no step is joined to another."""
    engine, model = engine_with(), load_tiny()
    usual, special = (engine.open(model, "a") for _ in range(2))
    for number in (usual, special):
        engine.append(number, PROMPT)
    for _ in range(2 * STEADY_TOKENS):
        engine.sample(usual, GREEDY, more=30)
        ask(engine, special)
        assert {each.sequence for each in engine.step()} == {usual, special}
    assert engine.step_count == 2 * STEADY_TOKENS
    for _ in range(2):
        engine.sample(usual, GREEDY, more=30)
        engine.step()
    assert engine.step_count == 2 * STEADY_TOKENS + MOST_STEPS  # without it, they are


def test_drafts_that_are_right_come_first(load_tiny: Loader) -> None:
    """A text that repeats itself: drafts of many tokens bring more."""
    found = []
    for speculation in (NO_DRAFTS, SpeculativeConfig()):
        decoding = Decoding(engine_with(speculation=speculation), load_tiny())
        decoding.begin(GREEDY, [*PROMPT, *PROMPT, *PROMPT])
        found.append(decoding.run(COUNT))
    assert found[0] == found[1]
    assert decoding.engine.speculation_metrics().accepted > COUNT // 4
    assert decoding.calls < decoding.engine.step_count < COUNT  # they are made between steps


def test_drafts_that_are_never_right_do_not_prevent_it(load_tiny: Loader) -> None:
    decoding = Decoding(engine_with(speculation=SpeculativeConfig()), load_tiny())
    decoding.begin(dataclasses.replace(SAMPLED, temperature=9.0))
    decoding.run(COUNT)
    assert decoding.calls < COUNT // 2


def test_what_drafts_brought_is_forgotten_where_there_are_none(load_tiny: Loader) -> None:
    """Calls that look for drafts and find none are no reason to go on looking."""
    decoding = Decoding(engine_with(speculation=SpeculativeConfig()), load_tiny())
    number = decoding.begin(dataclasses.replace(SAMPLED, temperature=9.0))
    decoding.run(STEADY_TOKENS)
    state, _ = decoding.engine._find(number)
    state.payback.worth = 0.3
    decoding.run(4 * COUNT)
    assert state.payback.worth < JOINED_GAIN - 1.0


def go_on(engine: Engine, number: int) -> int:
    return number


@pytest.mark.parametrize("change", [go_on, other_policy, other_tokens, rewind, fork])
def test_what_changes_while_tokens_are_ahead(
    load_tiny: Loader, change: Callable[[Engine, int], int]
) -> None:
    found = []
    for joined_seconds in (0.0, 1.0):
        engine = engine_with(joined_seconds)
        number = engine.open(load_tiny(), "a")
        engine.append(number, PROMPT)
        tokens = []
        for _ in range(STEADY_TOKENS + 2):  # the last but one begins a call of several steps
            engine.sample(number, GREEDY, more=30)
            (output,) = engine.step()
            tokens += output.token_ids
        assert bool(engine._find(number)[1].ahead) == (joined_seconds > 0.0)
        changed = change(engine, number)
        if change is not go_on:
            assert not engine._find(changed)[1].ahead
        for _ in range(20):
            engine.sample(changed, GREEDY, more=30)
            (output,) = engine.step()
            tokens += output.token_ids
        found.append(tokens)
    assert found[0] == found[1]


def test_who_never_takes_what_is_ahead(load_tiny: Loader) -> None:
    """A program that goes on in its own way costs a call of several steps now and then."""
    engine = engine_with()
    number = engine.open(load_tiny(), "a")
    engine.append(number, PROMPT)
    for turn in range(5 * STEADY_TOKENS):
        policy = dataclasses.replace(SAMPLED, seed=turn)
        engine.sample(number, policy, more=30)
        engine.step()
    further = engine.step_count - 5 * STEADY_TOKENS
    assert 0 < further <= 5 * (STEADY_TOKENS // 2 - 1)


# Draws a token at position 33 and tells how likely it was.
CHANCES = np.array([[1, 0, 0, 33, 0, 0, 32, 0, 0, -1, 0]], np.int64)


def following(
    model: StoredModel, engine: Engine, *, is_whole: bool = False, **changes: object
) -> None:
    """The row at the end of a text, or all of them, and what follows it."""
    number = engine.open(model, "a")
    engine.append(number, PROMPT)
    engine.sample(number, GREEDY)
    engine.step()
    state, sequence = engine._find(number)
    first = 0 if is_whole else len(PROMPT)
    text = sequence.tokens[first:]
    arguments = {
        "tokens": np.array(text, np.int32),
        "page_table": state.cache.table,
        "segments": np.array([[sequence.table_row, first, len(text)]], np.int32),
        "layer_begin": 0,
        "layer_end": model.hyperparameters.layer_count,
        "logit_rows": np.array([len(text) - 1], np.int32),
        "sampling_floats": np.zeros((1, 7), np.float32),
        "sampling_integers": np.array([[1, 0, 0, 33, 0, 0, 32, 0, 0, -1, -1]], np.int64),
        "history": np.zeros(0, np.int32),
        "following": np.zeros((3, 1), np.int32),
        **changes,
    }
    assert state.cache.reserve(sequence, len(PROMPT) + 4)
    model.native.step(state.cache.pool, engine._team, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"following": np.zeros((65, 1), np.int32)},
        {"following": np.zeros((3, 2), np.int32)},
        {"following": np.zeros((40, 1), np.int32)},  # past the pages of the sequence
        {"layer_end": 1},
        {"logit_rows": np.zeros(0, np.int32), "sampling_integers": None},
        {"sampling_integers": np.array([[0, 0, 0, 33, 0, 0, 32, 0, 0, -1, -1]], np.int64)},
        {
            "sampling_integers": np.array([[1, 0, 0, 33, 0, 0, 32, 0, 0, 0, -1]], np.int64),
            "allowed": np.zeros((1, -(-VOCABULARY // 32)), np.uint32),
        },
    ],
)
def test_what_the_native_core_refuses(load_tiny: Loader, changes: dict[str, object]) -> None:
    with pytest.raises(NativeError):
        following(load_tiny(), engine_with(), **changes)


def test_a_text_and_what_follows_it(load_tiny: Loader) -> None:
    """Several rows may come first; what is known of tokens' chances stands behind one another."""
    found = []
    for is_whole in (False, True):
        out, chances = np.zeros((3, 1), np.int32), np.zeros((4, 1), np.float32)
        tokens = np.zeros((4, 1), np.int32)
        arguments = {"logprobs": chances, "logprob_tokens": tokens, "sampling_integers": CHANCES}
        following(load_tiny(), engine_with(), is_whole=is_whole, following=out, **arguments)
        assert (out == tokens[1:]).all()
        assert (chances < 0.0).all()
        found.append((tokens.tolist(), chances.tolist()))
    assert found[0] == found[1]


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_what_is_no_longer_likely_ends_it(load_tiny: Loader, steps: int) -> None:
    model, engine = load_tiny(), engine_with()
    out, chances = np.zeros((3, 1), np.int32), np.zeros((4, 1), np.float32)
    arguments = {
        "following": out,
        "sampling_integers": CHANCES,
        "logprobs": chances,
        "logprob_tokens": np.zeros((4, 1), np.int32),
    }
    following(model, engine, **arguments)
    least = float(chances[:steps].sum()) + 1e-4  # what so many tokens together fall short of
    following(model, engine_with(), least_logprob=least, **arguments)
    assert (out[: steps - 1] >= 0).all() and (out[steps - 1 :] == -1).all()


def test_what_follows_is_written_as_far_as_it_comes(load_tiny: Loader) -> None:
    out, interrupt = np.zeros((3, 1), np.int32), Interrupt()
    following(load_tiny(), engine_with(), following=out, interrupt=interrupt)
    assert (out >= 0).all()
    following(load_tiny(), engine_with(), following=out, last_tokens=out[0])
    assert out[0, 0] >= 0 and (out[1:] == -1).all()
    interrupt.set()
    following(load_tiny(), engine_with(), following=out, interrupt=interrupt)
    assert (out == -1).all()
