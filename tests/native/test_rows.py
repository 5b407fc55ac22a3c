"""Row operations, attention and the sampler of every instruction set against NumPy."""

import numpy as np
import pytest

from realm.errors import NativeError
from realm.kernels import INSTRUCTION_SETS, _native, reference

RUNNING = [name for name in INSTRUCTION_SETS if _native.can_run(name)]


@pytest.mark.parametrize("isa", RUNNING)
@pytest.mark.parametrize("columns", [16, 17, 100, 576])
def test_rms_norm(isa: str, columns: int) -> None:
    rng = np.random.default_rng(columns)
    values = (rng.standard_normal((5, columns)) * 30).astype(np.float32)
    weight = rng.standard_normal(columns).astype(np.float32)
    actual = _native.rms_norm(isa, values, weight, 1e-5)
    np.testing.assert_allclose(actual, reference.rms_norm(values, weight, 1e-5), rtol=2e-6)


@pytest.mark.parametrize("isa", RUNNING)
def test_gates(isa: str) -> None:
    rng = np.random.default_rng(7)
    gates = (rng.standard_normal((3, 64)) * 20).astype(np.float32)
    ups = rng.standard_normal((3, 64)).astype(np.float32)
    silu = _native.gate(isa, 0, gates, ups)
    np.testing.assert_allclose(silu, reference.silu_gate(gates, ups), rtol=1e-5, atol=1e-6)
    gelu = _native.gate(isa, 1, gates, ups)
    np.testing.assert_allclose(gelu, reference.gelu_tanh_gate(gates, ups), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("isa", RUNNING)
@pytest.mark.parametrize("window", [0, 1, 33, 40])
@pytest.mark.parametrize("softcap", [0.0, 5.0])
@pytest.mark.parametrize("tokens", [1, 31, 32, 33, 130, 1100])
def test_attention(isa: str, window: int, softcap: float, tokens: int) -> None:
    rng = np.random.default_rng(tokens)
    # Half floats exactly, so that the cache rounds nothing.
    keys, values = (
        rng.standard_normal((tokens, 32)).astype(np.float16).astype(np.float32) for _ in range(2)
    )
    count = min(tokens, 14)
    queries = (rng.standard_normal((count, 32)) / 4).astype(np.float32)
    first = tokens - count
    actual = _native.attention(isa, queries, keys, values, first, window, softcap)
    scores = queries.astype(np.float64) @ keys.T
    if softcap:
        scores = softcap * np.tanh(scores / softcap)
    position, token = first + np.arange(count)[:, None], np.arange(tokens)[None]
    visible = (token <= position) & ((window == 0) | (token > position - window))
    weights = np.where(visible, np.exp(scores - scores.max()), 0.0)
    expected = weights @ values / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=2e-6)


def as_int8(values: np.ndarray, block: int) -> np.ndarray:
    """What an int8 cache holds of rows: a scale, a half float rounded upwards, for every `block`
    numbers of each, the last of them perhaps for fewer."""
    held = np.empty_like(values)
    for begin in range(0, values.shape[1], block):
        part = values[:, begin : begin + block]
        wanted = np.abs(part).max(axis=1) * np.float32(1 / 127)
        scale = wanted.astype(np.float16)
        scale = np.where(scale < wanted, np.nextafter(scale, np.float16(np.inf)), scale)
        scale = scale.astype(np.float32)[:, None]
        inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
        held[:, begin : begin + block] = np.rint(part * inverse) * scale
    return held


@pytest.mark.parametrize("isa", RUNNING)
@pytest.mark.parametrize("window", [0, 33])
@pytest.mark.parametrize("dimensions", [16, 48, 64])
@pytest.mark.parametrize("tokens", [1, 33, 130, 1100])
def test_attention_over_int8(isa: str, window: int, dimensions: int, tokens: int) -> None:
    rng = np.random.default_rng(tokens)
    keys, values = (
        (rng.standard_normal((tokens, dimensions)) * rng.lognormal(size=(tokens, 1))).astype("f4")
        for _ in range(2)
    )
    keys[tokens // 2] = 0.0
    values[tokens // 3] = 1e-12
    count = min(tokens, 14)
    queries = (rng.standard_normal((count, dimensions)) / 4).astype(np.float32)
    first = tokens - count
    actual = _native.attention(isa, queries, keys, values, first, window, 0.0, "int8")
    scores = queries.astype(np.float64) @ as_int8(keys, 32).T
    position, token = first + np.arange(count)[:, None], np.arange(tokens)[None]
    visible = (token <= position) & ((window == 0) | (token > position - window))
    weights = np.where(visible, np.exp(scores - scores.max()), 0.0)
    expected = weights @ as_int8(values, dimensions) / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(actual, expected, rtol=3e-5, atol=4e-6)


@pytest.mark.parametrize("isa", RUNNING)
@pytest.mark.parametrize("number", [np.nan, np.inf, 1e7])
def test_what_int8_cannot_hold_is_not_hidden(isa: str, number: float) -> None:
    rows = np.ones((40, 32), np.float32)
    values = rows.copy()
    values[35, 7] = number
    seen = _native.attention(isa, rows[:3], rows, values, 37, 0, 0.0, "int8")
    assert np.isnan(seen).all()
    before = _native.attention(isa, rows[:3], rows, values, 30, 0, 0.0, "int8")
    np.testing.assert_allclose(before, 1.0, rtol=1e-2)


def test_a_precision_that_there_is_not() -> None:
    rows = np.ones((1, 32), np.float32)
    with pytest.raises(NativeError, match="float16 or int8"):
        _native.attention(RUNNING[0], rows, rows, rows, 0, 0, 0.0, "int4")


@pytest.mark.parametrize("isa", RUNNING)
@pytest.mark.parametrize("precision", ["float16", "int8"])
def test_attention_of_one_query_does_not_depend_on_the_others(isa: str, precision: str) -> None:
    rng = np.random.default_rng(11)
    keys, values = (rng.standard_normal((200, 64)).astype(np.float32) for _ in range(2))
    queries = rng.standard_normal((29, 64)).astype(np.float32)
    together = _native.attention(isa, queries, keys, values, 150, 48, 0.0, precision)
    for index in range(29):
        alone = _native.attention(
            isa, queries[index : index + 1], keys, values, 150 + index, 48, 0.0, precision
        )
        assert alone.tobytes() == together[index : index + 1].tobytes()


@pytest.mark.parametrize("isa", RUNNING)
def test_greedy_takes_the_lowest_of_equals(isa: str) -> None:
    logits = np.zeros(1000, np.float32)
    logits[[77, 500, 999]] = 3.0
    assert _native.sample(isa, logits, 0.0, 0, 1.0, 0.0, 0, 0) == 77


def test_draws_follow_the_distribution() -> None:
    logits = np.log(np.array([0.5, 0.25, 0.15, 0.1], np.float32))
    counts = np.zeros(4)
    for seed in range(20000):
        counts[_native.sample("scalar", logits, 1.0, 0, 1.0, 0.0, seed, 5)] += 1
    expected = np.array([0.5, 0.25, 0.15, 0.1]) * 20000
    # Chi-square with three degrees of freedom: 16.3 is exceeded once in a thousand.
    assert ((counts - expected) ** 2 / expected).sum() < 16.3


def test_filters_leave_only_what_they_say() -> None:
    probabilities = np.array([0.1, 0.4, 0.3, 0.2], np.float32)
    logits = np.log(probabilities)

    def drawn(top_k: int, top_p: float, min_p: float) -> set[int]:
        return {
            _native.sample("scalar", logits, 1.0, top_k, top_p, min_p, seed, 1)
            for seed in range(500)
        }

    assert drawn(0, 1.0, 0.0) == {0, 1, 2, 3}
    assert drawn(2, 1.0, 0.0) == {1, 2}
    assert drawn(0, 0.65, 0.0) == {1, 2}
    assert drawn(0, 0.75, 0.0) == {1, 2, 3}
    assert drawn(0, 1.0, 0.6) == {1, 2}
    assert drawn(1, 1.0, 0.0) == {1}


def test_the_noise_is_keyed_by_seed_and_position() -> None:
    logits = np.zeros(5000, np.float32)
    draws = [
        [_native.sample("scalar", logits, 1.0, 0, 1.0, 0.0, seed, at) for at in range(20)]
        for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]
    assert len(set(draws[0])) > 15


def test_arguments_are_checked() -> None:
    rows = np.zeros((1, 32), np.float32)
    with pytest.raises(NativeError, match="size"):
        _native.product("scalar", 3, np.zeros(19, np.uint8), 1, 32, rows)
    with pytest.raises(NativeError, match="block type"):
        _native.product("scalar", 9999, np.zeros(20, np.uint8), 1, 32, rows)
    with pytest.raises(NativeError, match="instruction set"):
        _native.rms_norm("sse9", rows, np.zeros(32, np.float32), 1e-5)
