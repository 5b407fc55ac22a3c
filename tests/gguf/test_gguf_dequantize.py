"""`dequantize` against the `gguf` package, bit for bit over random blocks."""

import numpy as np
import pytest
from gguf.constants import GGMLQuantizationType

from gguf import quants
from realm.errors import GGUFTensorError, NotSupportedError
from realm.kernels.block_types import BlockType
from realm.kernels.dequantize import MEANINGS, dequantize

# Byte offsets of the float16 fields of one block.
HALVES = {
    BlockType.Q4_0: (0,),
    BlockType.Q4_1: (0, 2),
    BlockType.Q5_0: (0,),
    BlockType.Q5_1: (0, 2),
    BlockType.Q8_0: (0,),
    BlockType.Q2_K: (80, 82),
    BlockType.Q3_K: (108,),
    BlockType.Q4_K: (0, 2),
    BlockType.Q5_K: (0, 2),
    BlockType.Q6_K: (208,),
    BlockType.IQ4_NL: (0,),
    BlockType.IQ4_XS: (0,),
}


def oracle(data: np.ndarray, block_type: BlockType, shape: tuple[int, ...]) -> np.ndarray:
    rows = data.reshape(shape[0], -1)
    if block_type is BlockType.F32:
        return rows.view(np.float32)
    if block_type is BlockType.Q8_K:  # the gguf package has no meaning for it
        fields = np.dtype([("d", "<f4"), ("qs", "i1", 256), ("bsums", "<i2", 16)])
        blocks = data.reshape(-1).view(fields)
        return (blocks["d"][:, None] * blocks["qs"].astype(np.float32)).reshape(shape)
    return quants.dequantize(rows, GGMLQuantizationType(int(block_type))).reshape(shape)


@pytest.mark.parametrize("block_type", MEANINGS)
@pytest.mark.parametrize("seed", range(4))
def test_bit_for_bit(block_type: BlockType, seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = (7, 3 * block_type.block_elements)
    blocks = random.integers(0, 256, (21, block_type.block_bytes), dtype=np.uint8)
    for start in HALVES.get(block_type, ()):
        halves = random.normal(0, 10.0 ** random.integers(-6, 4), 21).astype("<f2")
        blocks[:, start : start + 2] = halves.view(np.uint8).reshape(21, 2)
    data = blocks.reshape(-1)
    values = dequantize(data, block_type, shape)
    assert values.dtype == np.float32
    assert values.shape == shape
    with np.errstate(invalid="ignore", over="ignore"):
        expected = oracle(data, block_type, shape)
    if block_type in HALVES:
        assert np.array_equal(values.view(np.uint32), expected.view(np.uint32))
    else:
        # Random bytes hold signalling NaNs, whose payload a conversion may change.
        assert np.array_equal(values, expected, equal_nan=True)


@pytest.mark.parametrize("block_type", HALVES)
def test_scales_that_are_not_finite(block_type: BlockType) -> None:
    data = np.full(2 * block_type.block_bytes, 0xFF, dtype=np.uint8)
    values = dequantize(data, block_type, (2 * block_type.block_elements,))
    assert np.isnan(values).all()


def test_accepts_any_bytes_and_leaves_them_alone() -> None:
    data = np.arange(40, dtype=np.uint8)
    data.flags.writeable = False
    expected = dequantize(data, BlockType.Q4_1, (2, 32))
    for same in (data.tobytes(), bytearray(data), memoryview(data.tobytes())):
        assert np.array_equal(dequantize(same, BlockType.Q4_1, (2, 32)), expected)
    assert expected.flags.writeable
    copy = dequantize(data, BlockType.F32, (10,))
    copy[:] = 0
    assert data.tolist() == list(range(40))


def test_scalars_and_nothing() -> None:
    assert dequantize(np.float32(2.5).tobytes(), BlockType.F32, ()) == np.float32(2.5)
    assert dequantize(b"", BlockType.Q4_0, (0, 32)).shape == (0, 32)


def test_wrong_arguments() -> None:
    with pytest.raises(NotSupportedError, match="IQ2_S"):
        dequantize(bytes(82), BlockType.IQ2_S, (256,))
    with pytest.raises(GGUFTensorError, match="rows of 33"):
        dequantize(bytes(20), BlockType.Q4_1, (1, 33))
    with pytest.raises(GGUFTensorError, match="19 bytes"):
        dequantize(bytes(19), BlockType.Q4_1, (1, 32))
