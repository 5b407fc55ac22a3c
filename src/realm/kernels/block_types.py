"""The block types of GGML: how a run of elements of a tensor's row lies in a file.

Every type that a GGUF file can name stands here once, with its number, the elements and the bytes
of one block. The module never reads data; `realm.kernels.dequantize` gives some types a meaning.

Source of the numbers: `enum ggml_type` in ggml.h and the block structures in ggml-common.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType


class BlockType(IntEnum):
    """A GGML type. Its integer value is the type number in the file.

    block_elements: elements of one block; a row holds a whole number of blocks.
    block_bytes: bytes of one block.
    """

    block_elements: int
    block_bytes: int

    def __new__(cls, number: int, block_elements: int, block_bytes: int) -> BlockType:
        member = int.__new__(cls, number)
        member._value_ = number
        member.block_elements = block_elements
        member.block_bytes = block_bytes
        return member

    F32 = 0, 1, 4
    F16 = 1, 1, 2
    Q4_0 = 2, 32, 18
    Q4_1 = 3, 32, 20
    Q5_0 = 6, 32, 22
    Q5_1 = 7, 32, 24
    Q8_0 = 8, 32, 34
    Q8_1 = 9, 32, 36
    Q2_K = 10, 256, 84
    Q3_K = 11, 256, 110
    Q4_K = 12, 256, 144
    Q5_K = 13, 256, 176
    Q6_K = 14, 256, 210
    Q8_K = 15, 256, 292
    IQ2_XXS = 16, 256, 66
    IQ2_XS = 17, 256, 74
    IQ3_XXS = 18, 256, 98
    IQ1_S = 19, 256, 50
    IQ4_NL = 20, 32, 18
    IQ3_S = 21, 256, 110
    IQ2_S = 22, 256, 82
    IQ4_XS = 23, 256, 136
    I8 = 24, 1, 1
    I16 = 25, 1, 2
    I32 = 26, 1, 4
    I64 = 27, 1, 8
    F64 = 28, 1, 8
    IQ1_M = 29, 256, 56
    BF16 = 30, 1, 2
    TQ1_0 = 34, 256, 54
    TQ2_0 = 35, 256, 66
    MXFP4 = 39, 32, 17
    NVFP4 = 40, 64, 36
    Q1_0 = 41, 128, 18

    def bytes_of(self, element_count: int) -> int:
        """Bytes of `element_count` elements; ValueError when they are not whole blocks."""
        block_count, rest = divmod(element_count, self.block_elements)
        if rest or element_count < 0:
            raise ValueError(
                f"{element_count} elements are not whole blocks of {self.block_elements} "
                f"({self.name})"
            )
        return block_count * self.block_bytes


BLOCK_TYPES: Mapping[int, BlockType] = MappingProxyType({int(each): each for each in BlockType})
"""Every type by its number in the file."""
