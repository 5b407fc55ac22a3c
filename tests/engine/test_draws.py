"""Masks, biases and log probabilities through the engine: alone, in a crowd, and refused."""

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engine.conftest import Loader

from realm.config import EngineConfig, SamplingParameters
from realm.engine import Engine, StepOutput
from realm.errors import ConfigError, ConstraintError, RequestError
from realm.model import StoredModel

TEXT = list(range(10, 50))
VOCABULARY = 320


def allow(*tokens: int) -> NDArray[np.uint32]:
    mask = np.zeros(VOCABULARY // 32, np.uint32)
    for token in tokens:
        mask[token // 32] |= np.uint32(1 << token % 32)
    return mask


def answer(
    engine: Engine,
    model: StoredModel,
    sampling: SamplingParameters,
    allowed: NDArray[np.uint32] | None = None,
    ids: list[int] = TEXT,
) -> StepOutput:
    sequence = engine.open(model, "a")
    engine.append(sequence, ids)
    engine.sample(sequence, sampling, allowed)
    (output,) = engine.step()
    engine.close(sequence)
    return output


def test_a_mask_is_for_one_token(load_tiny: Loader, engine: Engine) -> None:
    model = load_tiny()
    sequence = engine.open(model, "a")
    engine.append(sequence, TEXT)
    greedy = SamplingParameters(temperature=0.0)
    engine.sample(sequence, greedy, allow(3, 200))
    (first,) = engine.step()
    assert first.token_ids[0] in (3, 200)
    engine.sample(sequence, greedy)
    (second,) = engine.step()
    assert second.token_ids == (int(model.logits([*TEXT, *first.token_ids])[-1].argmax()),)


def test_a_mask_that_allows_nothing_fails_its_sequence_alone(
    load_tiny: Loader, engine: Engine
) -> None:
    model = load_tiny()
    numbers = [engine.open(model, "a") for _ in range(3)]
    for number in numbers:
        engine.append(number, TEXT)
        engine.sample(number, SamplingParameters(), allow() if number == numbers[1] else None)
    outputs = {output.sequence: output for output in engine.step()}
    assert isinstance(outputs[numbers[1]].error, ConstraintError)
    assert outputs[numbers[1]].token_ids == ()
    assert outputs[numbers[0]].error is None and outputs[numbers[2]].error is None
    assert engine.position(numbers[1]) == len(TEXT)
    engine.sample(numbers[1], SamplingParameters())
    (output,) = engine.step()
    assert output.error is None


def test_bias_and_logprobs(load_tiny: Loader, engine: Engine) -> None:
    model = load_tiny()
    logits = model.logits(TEXT)[-1].astype(np.float64)
    expected = logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())
    policy = SamplingParameters(temperature=0.0, logit_bias=((77, 1000.0),), logprobs=4)
    output = answer(engine, model, policy)
    assert output.token_ids == (77,)
    (found,) = output.logprobs
    assert found.token_id == 77
    assert found.logprob == pytest.approx(expected[77], abs=1e-5)
    assert [token for token, _ in found.top] == np.argsort(-logits, kind="stable")[:4].tolist()
    assert [value for _, value in found.top] == pytest.approx(np.sort(expected)[::-1][:4], abs=1e-5)
    assert answer(engine, model, SamplingParameters()).logprobs == ()


def test_neighbours_change_nothing(load_tiny: Loader, isa: str) -> None:
    model = load_tiny(isa)
    policies = [
        SamplingParameters(seed=1, temperature=1.0, logprobs=3),
        SamplingParameters(seed=2, temperature=1.0, typical_p=0.7, logit_bias=((4, 2.0), (9, -1))),
        SamplingParameters(seed=3, temperature=0.0, logprobs=0),
        SamplingParameters(seed=4, temperature=1.3, top_k=30, top_p=0.8, min_p=0.01),
        SamplingParameters(seed=5, presence_penalty=0.5, logprobs=20),
    ]
    masks = [None, allow(*range(0, VOCABULARY, 3)), None, allow(5, 6, 7, 300), None]
    prompts = [TEXT[: 7 + 5 * index] for index in range(5)]
    alone = [
        answer(Engine(EngineConfig(threads=1)), model, policy, mask, ids)
        for policy, mask, ids in zip(policies, masks, prompts, strict=True)
    ]
    engine = Engine(EngineConfig(threads=2))
    numbers = [engine.open(model, "a") for _ in policies]
    for number, policy, mask, ids in zip(numbers, policies, masks, prompts, strict=True):
        engine.append(number, ids)
        engine.sample(number, policy, mask)
    together: dict[int, StepOutput] = {}
    while engine.has_work:
        together |= {output.sequence: output for output in engine.step()}
    for number, solo in zip(numbers, alone, strict=True):
        assert together[number].token_ids == solo.token_ids
        assert together[number].logprobs == solo.logprobs


def test_requests_are_checked(load_tiny: Loader, engine: Engine) -> None:
    model = load_tiny()
    with pytest.raises(RequestError, match="token 320"):
        answer(engine, model, SamplingParameters(logit_bias=((320, 1.0),)))
    with pytest.raises(RequestError, match="mask"):
        answer(engine, model, SamplingParameters(), np.zeros(3, np.uint32))


@pytest.mark.parametrize(
    "fields",
    [
        {"typical_p": 0.0},
        {"typical_p": 1.1},
        {"logprobs": 21},
        {"logprobs": -1},
        {"logit_bias": ((-1, 1.0),)},
        {"logit_bias": ((1, float("inf")),)},
        {"logit_bias": ((1, 1.0), (1, 2.0))},
    ],
)
def test_policies_are_checked(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        SamplingParameters(**fields)  # type: ignore[arg-type]
