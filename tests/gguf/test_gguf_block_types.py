"""The table of block types against the `gguf` package's."""

import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from realm.kernels.block_types import BLOCK_TYPES, BlockType


def test_every_type_of_the_oracle_is_in_the_table() -> None:
    assert {each.name: int(each) for each in BlockType} == {
        each.name: int(each) for each in GGMLQuantizationType
    }
    assert set(BLOCK_TYPES) == {int(each) for each in GGMLQuantizationType}


@pytest.mark.parametrize("block_type", BlockType)
def test_block_sizes(block_type: BlockType) -> None:
    elements, size = GGML_QUANT_SIZES[GGMLQuantizationType(int(block_type))]
    if block_type is BlockType.Q8_1:
        # The package counts two float32; ggml-common.h has two float16 since 2024.
        assert size == 40
        size = 36
    assert (block_type.block_elements, block_type.block_bytes) == (elements, size)


def test_bytes_of() -> None:
    assert BlockType.Q4_1.bytes_of(64) == 40
    assert BlockType.F32.bytes_of(0) == 0
    for count in (31, -32):
        with pytest.raises(ValueError, match="whole blocks of 32"):
            BlockType.Q4_1.bytes_of(count)
