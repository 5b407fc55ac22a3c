"""Every block type's product in every instruction set against its NumPy meaning."""

import numpy as np
import pytest

import gguf
from realm.kernels import INSTRUCTION_SETS, _native
from realm.kernels.block_types import BlockType
from realm.kernels.dequantize import dequantize

RUNNING = [name for name in INSTRUCTION_SETS if _native.can_run(name)]
# Largest error of an output relative to |weights| . |activations|: int8 activations round by at
# most half of 1/127 of their block's largest value, those of 16 bits by half of 1/4095; float
# weights only add float32 rounding.
TOLERANCE = {"F32": 1e-6, "F16": 2e-4, "BF16": 2e-4, "Q2_K": 2e-4}
QUANTIZED_TOLERANCE = 6e-3
BLOCK_TYPES = [
    "F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0",
    "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K", "IQ4_NL", "IQ4_XS",
]  # fmt: skip
WIDE = ("F16", "BF16")  # kept as integers of 16 bits
# Their scale is not a half float in the file, but becomes one.
ROUNDED_SCALES = ("Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K", "IQ4_XS")
HALF_OFFSETS = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,),
    "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
    "IQ4_NL": (0,), "IQ4_XS": (0,),
}  # fmt: skip


def random_matrix(block_type: BlockType, rows: int, columns: int, seed: int) -> np.ndarray:
    """Random blocks: every bit pattern of the quants, scales that stay finite."""
    rng = np.random.default_rng(seed)
    if block_type.name in ("F32", "F16"):
        kind = np.float32 if block_type.name == "F32" else np.float16
        return rng.standard_normal((rows, columns)).astype(kind).view(np.uint8).reshape(-1)
    if block_type.name == "BF16":
        values = rng.standard_normal((rows, columns)).astype(np.float32)
        return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8).reshape(-1)
    blocks = rows * columns // block_type.block_elements
    data = rng.integers(0, 256, (blocks, block_type.block_bytes), dtype=np.uint8)
    if block_type.name == "Q8_K":
        floats = rng.uniform(-0.02, 0.02, blocks).astype(np.float32)
        data[:, :4] = floats.view(np.uint8).reshape(blocks, 4)
    for offset in HALF_OFFSETS.get(block_type.name, ()):
        scales = rng.uniform(-0.02, 0.02, blocks).astype(np.float16)
        data[:, offset : offset + 2] = scales.view(np.uint8).reshape(blocks, 2)
    return data.reshape(-1)


@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_packing_keeps_every_weight(name: str) -> None:
    block_type = BlockType[name]
    rows, columns = 21, 512
    data = random_matrix(block_type, rows, columns, seed=1)
    expected = dequantize(data, block_type, (rows, columns))
    packed = _native.unpacked(int(block_type), data, rows, columns)
    if name in WIDE:
        blocks = np.abs(expected).reshape(rows, -1, 32)
        largest = blocks.max(axis=-1, keepdims=True)
        error = np.abs(packed - expected).reshape(blocks.shape)
        assert not error[blocks >= largest / 8].any()
        assert (error <= largest * 2.0**-14).all()
    elif name in ROUNDED_SCALES:
        np.testing.assert_allclose(packed, expected, rtol=0, atol=np.abs(expected).max() * 2e-3)
    else:
        np.testing.assert_allclose(packed, expected, rtol=0, atol=1e-6)


def test_packing_agrees_with_the_gguf_package() -> None:
    data = random_matrix(BlockType.Q4_1, 16, 64, seed=2)
    expected = gguf.quants.dequantize(data.reshape(16, -1), gguf.GGMLQuantizationType.Q4_1)
    np.testing.assert_allclose(_native.unpacked(3, data, 16, 64), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("isa", RUNNING)
@pytest.mark.parametrize("name", BLOCK_TYPES)
@pytest.mark.parametrize(("rows", "columns"), [(1, 256), (16, 256), (37, 768)])
def test_product(isa: str, name: str, rows: int, columns: int) -> None:
    block_type = BlockType[name]
    data = random_matrix(block_type, rows, columns, seed=rows)
    weights = _native.unpacked(int(block_type), data, rows, columns).astype(np.float64)
    values = np.random.default_rng(3).standard_normal((19, columns)).astype(np.float32)
    expected = values.astype(np.float64) @ weights.T
    bound = np.abs(values).astype(np.float64) @ np.abs(weights).T
    actual = _native.product(isa, int(block_type), data, rows, columns, values)
    error = np.abs(actual - expected) / bound
    assert error.max() <= TOLERANCE.get(name, QUANTIZED_TOLERANCE)


@pytest.mark.parametrize("isa", RUNNING)
@pytest.mark.parametrize("name", BLOCK_TYPES)
def test_a_row_does_not_depend_on_its_neighbours(isa: str, name: str) -> None:
    block_type = BlockType[name]
    rows, columns = 48, 512
    data = random_matrix(block_type, rows, columns, seed=4)
    values = np.random.default_rng(5).standard_normal((41, columns)).astype(np.float32)
    alone = np.concatenate(
        [_native.product(isa, int(block_type), data, rows, columns, row[None]) for row in values]
    )
    for count in (2, 3, 5, 8, 9, 16, 17, 41):
        together = _native.product(isa, int(block_type), data, rows, columns, values[:count])
        assert together.tobytes() == alone[:count].tobytes()


# Zeros, and halves as small and as large as they can be.
ODD_HALVES = [0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0xFBFF, 0x3C00]


@pytest.mark.parametrize("isa", RUNNING)
def test_largest_sums_of_wide_weights(isa: str) -> None:
    # Alike weights and alike activations, each the largest of its block: no sum may overflow.
    weights = np.full((16, 64), np.float16(65504.0))
    values = np.stack([np.ones(64), -np.ones(64), np.zeros(64)]).astype(np.float32)
    actual = _native.product(isa, 1, weights.view(np.uint8).reshape(-1), 16, 64, values)
    np.testing.assert_allclose(actual[0], 65504.0 * 64, rtol=1e-6)
    np.testing.assert_allclose(actual[1], -65504.0 * 64, rtol=1e-6)
    assert not actual[2].any()


def test_packing_of_odd_halves() -> None:
    halves = np.zeros((16, 32 * len(ODD_HALVES)), np.uint16)
    halves[:, ::32] = ODD_HALVES  # the largest of its block
    packed = _native.unpacked(1, halves.view(np.uint8).reshape(-1), *halves.shape)
    np.testing.assert_array_equal(packed, halves.view(np.float16).astype(np.float32))


@pytest.mark.parametrize("largest", [3.0e38, 1.0e-30, 1.0e-39])
def test_packing_of_extreme_bfloat16(largest: float) -> None:
    floats = np.zeros((16, 32), np.float32)
    floats[:, 5], floats[:, 6] = largest, -largest / 2
    halves = (floats.view(np.uint32) >> 16).astype(np.uint16)
    expected = (halves.astype(np.uint32) << 16).view(np.float32)
    packed = _native.unpacked(30, halves.view(np.uint8).reshape(-1), 16, 32)
    np.testing.assert_allclose(packed, expected, rtol=0, atol=2.0**-126 if largest < 1e-30 else 0)


@pytest.mark.parametrize("isa", RUNNING)
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_wide_weight_that_is_no_number_gives_none(isa: str, bad: float) -> None:
    weights = np.ones((16, 64), np.float16)
    weights[3, 40] = bad
    actual = _native.product(
        isa, 1, weights.view(np.uint8).reshape(-1), 16, 64, np.ones((2, 64), np.float32)
    )
    assert np.isnan(actual[:, 3]).all()
    np.testing.assert_allclose(np.delete(actual, 3, axis=1), 64.0, rtol=1e-6)


# Blocks of 32 with a scale of 1 whose weights are all the same: every byte of quants, the weight.
EXTREMES = [
    ("Q8_0", 0x80, -128.0),
    ("Q8_0", 0x7F, 127.0),
    ("IQ4_NL", 0x00, -127.0),
    ("IQ4_NL", 0xFF, 113.0),
]


@pytest.mark.parametrize("isa", RUNNING)
@pytest.mark.parametrize(("name", "quants", "weight"), EXTREMES)
def test_extreme_activations(isa: str, name: str, quants: int, weight: float) -> None:
    # The largest sums that 8-bit weights and activations can make: none may saturate.
    block_type = BlockType[name]
    data = np.full((16, 8, block_type.block_bytes), quants, np.uint8)
    data[:, :, :2] = np.frombuffer(np.float16(1.0).tobytes(), np.uint8)
    values = np.stack([np.ones(256), -np.ones(256), np.zeros(256)]).astype(np.float32)
    actual = _native.product(isa, int(block_type), data.reshape(-1), 16, 256, values)
    np.testing.assert_allclose(actual[0], weight * 256, rtol=1e-6)
    np.testing.assert_allclose(actual[1], -weight * 256, rtol=1e-6)
    assert not actual[2].any()
