"""The sampler of every instruction set against a NumPy meaning of each filter, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from realm.errors import NativeError
from realm.kernels import INSTRUCTION_SETS, _native

RUNNING = [name for name in INSTRUCTION_SETS if _native.can_run(name)]
NOTHING_ALLOWED, NOT_A_NUMBER = -2, -3
Floats = NDArray[np.float32]


def draw(isa: str, logits: Floats, temperature: float = 1.0, *, seed: int = 0, **policy) -> int:
    top_k, top_p, min_p = (policy.pop(n, d) for n, d in (("k", 0), ("p", 1.0), ("min_p", 0.0)))
    return _native.sample(isa, logits, temperature, top_k, top_p, min_p, seed, 3, **policy)


def mask_of(allowed: list[int], vocabulary: int) -> NDArray[np.uint32]:
    bits = np.zeros(-(-vocabulary // 32) * 32, np.uint8)
    bits[allowed] = 1
    return np.packbits(bits, bitorder="little").view(np.uint32)


def noise(vocabulary: int, seed: int, position: int) -> NDArray[np.float64]:
    """The Gumbel noise of each token (SplitMix64's finalizer; Steele, Lea and Flood, 2014)."""

    def mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))

    with np.errstate(over="ignore"):
        start = mix(np.array([seed], np.uint64) + np.uint64(0x632BE59BD9B4E019))
        key = mix(start + np.uint64(position))
        tokens = np.arange(1, vocabulary + 1, dtype=np.uint64)
        bits = mix(key + np.uint64(0x9E3779B97F4A7C15) * tokens) >> np.uint64(11)
    return -np.log(-np.log((bits.astype(np.float64) + 0.5) * 2.0**-53))


def nucleus(weights: NDArray[np.float64], order: NDArray[np.int64], mass: float) -> set[int]:
    sums = np.cumsum(weights[order]) / weights.sum()
    return set(order[: int(np.searchsorted(sums, mass)) + 1].tolist())


def expected_set(
    logits: Floats, temperature: float, *, k: int, p: float, min_p: float, typical: float
) -> set[int]:
    """Tokens that may be drawn, by the documented order of the filters."""
    exponents = (logits.astype(np.float64) - float(logits.max())) / temperature
    weights = np.exp(exponents)
    kept = set(range(len(logits)))

    def left() -> NDArray[np.float64]:
        inside = np.zeros(len(logits))
        inside[list(kept)] = weights[list(kept)]
        return inside

    likely = np.lexsort((np.arange(len(logits)), -weights))
    if k:
        kept &= set(likely[:k].tolist())
    if p < 1.0:
        kept &= nucleus(left(), likely, p)
    kept &= set(np.flatnonzero(weights >= min_p).tolist())
    if typical < 1.0:
        shares = left() / left().sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            information = -np.log(shares)
            entropy = np.nansum(np.where(shares > 0, shares * information, 0.0))
        distance = np.where(shares > 0, np.abs(information - entropy), np.inf)
        kept &= nucleus(left(), np.lexsort((np.arange(len(logits)), distance)), typical)
    return kept


POLICIES = [
    {},
    {"k": 7},
    {"k": 700},
    {"p": 0.5},
    {"p": 0.97},
    {"min_p": 0.03},
    {"typical_p": 0.6},
    {"k": 50, "p": 0.8, "min_p": 0.05, "typical_p": 0.9},
    {"p": 0.9, "typical_p": 0.5},
]


@pytest.mark.parametrize("isa", RUNNING)
@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("vocabulary", [1, 63, 64, 1000, 9001])
@pytest.mark.parametrize("spread", [0.2, 2.0, 12.0])
def test_a_draw_is_the_largest_of_what_the_filters_leave(
    isa: str, policy: dict[str, float], vocabulary: int, spread: float
) -> None:
    rng = np.random.default_rng(vocabulary)
    for seed in range(4):
        logits = (rng.standard_normal(vocabulary) * spread).astype(np.float32)
        temperature = (1.0, 0.6, 1.7)[seed % 3]
        kept = expected_set(
            logits,
            temperature,
            k=int(policy.get("k", 0)),
            p=policy.get("p", 1.0),
            min_p=policy.get("min_p", 0.0),
            typical=policy.get("typical_p", 1.0),
        )
        values = logits.astype(np.float64) / temperature + noise(vocabulary, seed, 3)
        inside = sorted(kept)
        expected = inside[int(np.argmax(values[inside]))]
        assert draw(isa, logits, temperature, seed=seed, **policy) == expected


@pytest.mark.parametrize("isa", RUNNING)
def test_equal_tokens_are_kept_from_the_lowest_id(isa: str) -> None:
    logits = np.zeros(5120, np.float32)
    for policy, most in (({"k": 10}, 10), ({"p": 50 / 5120}, 50), ({"typical_p": 10 / 5120}, 10)):
        drawn = {draw(isa, logits, seed=seed, **policy) for seed in range(400)}
        assert max(drawn) < most
        assert len(drawn) > most // 2


@pytest.mark.parametrize("isa", RUNNING)
@pytest.mark.parametrize("temperature", [0.0, 1e-45, 1e-30, 1.0, 1e38])
def test_extreme_logits_and_temperatures(isa: str, temperature: float) -> None:
    logits = np.full(200, -3.0e38, np.float32)
    logits[[20, 150]] = 3.0e38
    assert draw(isa, logits, temperature, p=0.9) in ((20,) if temperature == 0.0 else (20, 150))


@pytest.mark.parametrize("isa", RUNNING)
def test_bias_then_mask_then_penalties(isa: str) -> None:
    logits = np.zeros(100, np.float32)
    bias = {"bias_tokens": np.array([5, 9], np.int32), "bias_values": np.array([3, 2], np.float32)}
    assert draw(isa, logits, 0.0, **bias) == 5
    allowed = mask_of([9, 40, 99], 100)
    assert draw(isa, logits, 0.0, **bias, allowed=allowed) == 9
    seen = {"history": np.array([9, 9, 7], np.int32), "prompt_count": 1}
    # 9 stood in the prompt and was generated once: 2 / 1.5 - 0.5 - 1 < 0, so 40 is ahead.
    penalties = np.array([1.5, 0.5, 1.0], np.float32)
    assert draw(isa, logits, 0.0, **bias, allowed=allowed, **seen, penalties=penalties) == 40
    only_repetition = np.array([1.5, 0.0, 0.0], np.float32)
    arguments = {**bias, "allowed": allowed, **seen, "penalties": only_repetition}
    assert draw(isa, logits, 0.0, **arguments) == 9


@pytest.mark.parametrize("isa", RUNNING)
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_mask_is_never_left(isa: str, policy: dict[str, float]) -> None:
    rng = np.random.default_rng(8)
    logits = rng.standard_normal(4097).astype(np.float32)
    for count in (1, 3, 200, 4000):
        allowed = sorted(rng.choice(4097, count, replace=False).tolist())
        masked = np.full(4097, -np.inf, np.float32)
        masked[allowed] = logits[allowed]
        for seed in range(8):
            token = draw(isa, logits, seed=seed, allowed=mask_of(allowed, 4097), **policy)
            assert token in allowed
            assert token == draw(isa, masked, seed=seed, **policy)


@pytest.mark.parametrize("isa", RUNNING)
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_rows_without_a_token_are_told(
    isa: str, temperature: float, policy: dict[str, float]
) -> None:
    logits = np.zeros(200, np.float32)
    nothing = np.zeros(7, np.uint32)
    assert draw(isa, logits, temperature, allowed=nothing, **policy) == NOTHING_ALLOWED
    logits[:] = np.nan
    assert draw(isa, logits, temperature, **policy) == NOT_A_NUMBER
    logits[:] = 0.0
    logits[17] = np.inf
    assert draw(isa, logits, temperature, **policy) == NOT_A_NUMBER


@pytest.mark.parametrize("isa", RUNNING)
def test_a_token_that_is_no_number_is_never_drawn(isa: str) -> None:
    logits = np.zeros(300, np.float32)
    logits[::2] = np.nan
    assert draw(isa, logits, 0.0) == 1
    for policy in POLICIES:
        for seed in range(8):
            assert draw(isa, logits, seed=seed, **policy) % 2 == 1


@pytest.mark.parametrize("isa", RUNNING)
@pytest.mark.parametrize("vocabulary", [3, 1000, 4999])
@pytest.mark.parametrize("count", [0, 1, 20])
def test_logprobs_are_those_of_the_raw_logits(isa: str, vocabulary: int, count: int) -> None:
    rng = np.random.default_rng(4)
    logits = (rng.standard_normal(vocabulary) * 3).astype(np.float32)
    logits[1] = logits[2]  # a tie: the lower id first
    exact = logits.astype(np.float64)
    expected = exact - exact.max() - np.log(np.exp(exact - exact.max()).sum())
    values, tokens = np.empty(count + 1, np.float32), np.empty(count + 1, np.int32)
    chosen = draw(
        isa,
        logits,
        0.8,
        p=0.9,
        penalties=np.array([1.3, 0.2, 0.2], np.float32),
        history=np.arange(vocabulary, dtype=np.int32),
        bias_tokens=np.array([0], np.int32),
        bias_values=np.array([5.0], np.float32),
        logprobs=values,
        logprob_tokens=tokens,
    )
    likely = np.lexsort((np.arange(vocabulary), -exact))[:count]
    shown = 1 + len(likely)
    assert tokens[:shown].tolist() == [chosen, *likely.tolist()]
    np.testing.assert_allclose(values[:shown], expected[tokens[:shown]], atol=2e-6, rtol=2e-6)
    assert (tokens[shown:] == -1).all()


def test_asking_for_logprobs_changes_no_draw() -> None:
    rng = np.random.default_rng(5)
    for seed in range(30):
        logits = rng.standard_normal(3000).astype(np.float32)
        values, tokens = np.empty(6, np.float32), np.empty(6, np.int32)
        with_them = draw(RUNNING[-1], logits, seed=seed, logprobs=values, logprob_tokens=tokens)
        assert with_them == draw(RUNNING[-1], logits, seed=seed) == tokens[0]


def test_arguments_are_checked() -> None:
    logits = np.zeros(100, np.float32)
    one, wide = np.array([100], np.int32), np.zeros(22, np.float32)
    with pytest.raises(NativeError, match="out of the vocabulary"):
        draw("scalar", logits, bias_tokens=one, bias_values=np.zeros(1, np.float32))
    with pytest.raises(NativeError, match="needs tokens and values"):
        draw("scalar", logits, bias_tokens=one)
    with pytest.raises(NativeError, match="one bit a token"):
        draw("scalar", logits, allowed=np.zeros(3, np.uint32))
    with pytest.raises(NativeError, match="1 to 21"):
        draw("scalar", logits, logprobs=wide, logprob_tokens=wide.astype(np.int32))
