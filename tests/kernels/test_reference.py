"""The NumPy meaning of the operations against torch and transformers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch.nn import functional
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from realm.kernels import reference

RELATIVE = 2e-5
ABSOLUTE = 2e-6


def normal(*shape, seed=0, scale=1.0):
    values = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return values * np.float32(scale)


def close(actual, expected):
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual, expected, RELATIVE, ABSOLUTE)


@pytest.mark.parametrize("width", [1, 17, 576, 640])
@pytest.mark.parametrize("epsilon", [1e-5, 1e-6])
def test_rms_norm(width, epsilon):
    x, weight = normal(5, width, scale=3.0), normal(width, seed=1)
    expected = functional.rms_norm(
        torch.from_numpy(x), (width,), torch.from_numpy(weight), eps=epsilon
    )
    close(reference.rms_norm(x, weight, epsilon), expected.numpy())


def test_rms_norm_of_zeros_is_zero():
    close(reference.rms_norm(np.zeros((2, 8), np.float32), normal(8), 1e-6), np.zeros((2, 8)))


def test_inverse_frequencies():
    exponents = torch.arange(0, 64, 2, dtype=torch.float64) / 64
    expected = (1.0 / 100_000.0**exponents).to(torch.float32)
    close(reference.rope_inverse_frequencies(64, 100_000.0), expected.numpy())


def rotated_by_transformers(x, inverse_frequencies, positions):
    angles = np.outer(positions, inverse_frequencies.astype(np.float64))
    both = torch.from_numpy(np.concatenate([angles, angles], axis=-1))
    query = torch.from_numpy(x).swapaxes(0, 1)[None]
    cosine, sine = both.cos().float()[None], both.sin().float()[None]
    rotated, _ = apply_rotary_pos_emb(query, query, cosine, sine)
    return rotated[0].swapaxes(0, 1).numpy()


@pytest.mark.parametrize("width", [2, 64, 256])
def test_split_rope_is_that_of_transformers(width):
    x = normal(6, 3, width)
    positions = np.array([0, 1, 2, 511, 512, 8191])
    frequencies = reference.rope_inverse_frequencies(width, 10_000.0)
    expected = rotated_by_transformers(x, frequencies, positions)
    close(reference.rope_split(x, frequencies, positions), expected)


@pytest.mark.parametrize("width", [2, 64, 256])
def test_interleaved_rope_is_split_rope_in_another_order(width):
    x = normal(6, 3, width)
    positions = np.array([0, 1, 2, 511, 512, 8191])
    frequencies = reference.rope_inverse_frequencies(width, 10_000.0)
    halves = np.concatenate([x[..., 0::2], x[..., 1::2]], axis=-1)
    expected = rotated_by_transformers(halves, frequencies, positions)
    rotated = reference.rope_interleaved(x, frequencies, positions)
    close(np.concatenate([rotated[..., 0::2], rotated[..., 1::2]], axis=-1), expected)


@pytest.mark.parametrize("rope", [reference.rope_split, reference.rope_interleaved])
def test_rope_leaves_columns_past_the_rotated_ones_and_its_input(rope):
    x = normal(4, 2, 48)
    before = x.copy()
    frequencies = reference.rope_inverse_frequencies(32, 10_000.0)
    rotated = rope(x, frequencies, np.arange(4))
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(rotated[..., 32:], x[..., 32:])
    np.testing.assert_array_equal(rotated[0], x[0])
    assert not np.array_equal(rotated[1, :, :32], x[1, :, :32])


def test_causal_mask_with_a_window():
    mask = reference.causal_mask(np.array([2, 5]), np.arange(6), window=3)
    expected = [[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]
    np.testing.assert_array_equal(mask, np.array(expected, dtype=bool))
    np.testing.assert_array_equal(
        reference.causal_mask(np.array([1]), np.arange(3)), [[True, True, False]]
    )


@pytest.mark.parametrize(("heads", "kv_heads"), [(1, 1), (9, 3), (4, 1)])
@pytest.mark.parametrize("window", [0, 1, 5])
def test_attention(heads, kv_heads, window):
    context, width = 13, 24
    queries = normal(context, heads, width, seed=1)
    keys = normal(context, kv_heads, width, seed=2)
    values = normal(context, kv_heads, 16, seed=3)
    positions = np.arange(context)
    reached = torch.ones(context, context, dtype=torch.bool).tril()
    if window:
        reached &= ~torch.ones(context, context, dtype=torch.bool).tril(-window)
    expected = functional.scaled_dot_product_attention(
        *(torch.from_numpy(x).swapaxes(0, 1)[None] for x in (queries, keys, values)),
        attn_mask=reached,
        scale=0.3,
        enable_gqa=True,
    )
    actual = reference.attention(queries, keys, values, positions, scale=0.3, window=window)
    close(actual, expected[0].swapaxes(0, 1).numpy())


def test_attention_of_late_rows_is_that_of_all_rows():
    queries, keys, values = normal(9, 4, 8), normal(9, 2, 8, seed=1), normal(9, 2, 8, seed=2)
    every = reference.attention(queries, keys, values, np.arange(9), scale=0.5, window=4)
    late = reference.attention(queries[6:], keys, values, np.arange(6, 9), scale=0.5, window=4)
    close(late, every[6:])


def test_attention_soft_cap_bends_scores():
    queries, keys, values = normal(3, 1, 8, scale=9.0), normal(3, 1, 8, seed=1), normal(3, 1, 8)
    scores = torch.from_numpy(queries[:, 0] @ keys[:, 0].T * np.float32(0.5))
    capped = 2.0 * torch.tanh(scores / 2.0)
    capped = capped.masked_fill(~torch.ones(3, 3, dtype=torch.bool).tril(), -torch.inf)
    expected = torch.softmax(capped, -1).numpy() @ values[:, 0]
    actual = reference.attention(queries, keys, values, np.arange(3), scale=0.5, soft_cap=2.0)
    close(actual[:, 0], expected)


def test_gates():
    gate, up = normal(7, 33, scale=8.0), normal(7, 33, seed=1)
    silu = functional.silu(torch.from_numpy(gate)).numpy() * up
    gelu = functional.gelu(torch.from_numpy(gate), approximate="tanh").numpy() * up
    close(reference.silu_gate(gate, up), silu)
    close(reference.gelu_tanh_gate(gate, up), gelu)


def test_gates_at_the_ends():
    gate, up = np.array([-200.0, 0.0, 200.0], np.float32), np.ones(3, np.float32)
    close(reference.silu_gate(gate, up), [0.0, 0.0, 200.0])
    close(reference.gelu_tanh_gate(gate, up), [0.0, 0.0, 200.0])


FINITE_ROWS = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 4).map(lambda blocks: blocks * 32)),
    elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
)


@given(FINITE_ROWS, st.sampled_from([reference.INT8_LIMIT, reference.WIDE_LIMIT]))
def test_quantized_activations_are_near_and_their_sums_right(x, largest):
    quants, scales, sums = reference.quantize_activations(x, largest)
    assert (quants.dtype, scales.dtype, sums.dtype) == (np.int16, np.float32, np.int32)
    assert np.abs(quants).max() <= largest
    restored = reference.dequantize_activations(quants, scales)
    half = 0.50001 if largest == reference.INT8_LIMIT else 0.501
    half_steps = np.repeat(scales, 32, axis=-1) * np.float32(half)
    assert (np.abs(restored - x) <= half_steps).all()
    blocks = quants.reshape(len(x), -1, 32)
    np.testing.assert_array_equal(sums, blocks.astype(np.int32).sum(axis=-1))


def test_quantizing_rounds_ties_to_even_with_a_scale_a_block():
    x = np.zeros((1, 96), np.float32)
    x[0, :5] = [127.0, 0.5, 1.5, -2.5, -0.5]
    x[0, 32:34] = [-254.0, 3.0]
    quants, scales, sums = reference.quantize_activations(x)
    np.testing.assert_array_equal(scales, [[1.0, 2.0, 0.0]])
    np.testing.assert_array_equal(quants[0, :5], [127, 0, 2, -2, 0])
    np.testing.assert_array_equal(quants[0, 32:34], [-127, 2])
    np.testing.assert_array_equal(sums, [[127, -125, 0]])
