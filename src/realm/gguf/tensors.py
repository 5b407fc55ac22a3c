"""Tensors as the header describes them: name, shape, block type, and where their bytes lie.

Every description is checked here, alone and against the others, so that a view of a tensor's
bytes is always inside the file. The bytes themselves are never read.
"""

from __future__ import annotations

from dataclasses import dataclass

from realm.errors import GGUFLayoutError, GGUFTensorError, GGUFTruncatedError
from realm.gguf import limits
from realm.gguf.cursor import Cursor, shown
from realm.gguf.turns import in_turns
from realm.kernels.block_types import BLOCK_TYPES, BlockType

_LARGEST_ELEMENT_COUNT = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor of a file.

    shape: NumPy order, so a matrix is (rows, columns); the file has it the other way round.
    offset: of its first byte, from the beginning of the file. size_bytes: without padding.
    """

    name: str
    shape: tuple[int, ...]
    block_type: BlockType
    offset: int
    size_bytes: int

    @property
    def end(self) -> int:
        """The offset just past its last byte."""
        return self.offset + self.size_bytes


def read_tensor_infos(cursor: Cursor, tensor_count: int) -> list[TensorInfo]:
    """`tensor_count` descriptions; their offsets still count from the data section's beginning."""
    infos: list[TensorInfo] = []
    names: set[str] = set()
    for index in in_turns(range(tensor_count)):
        cursor.enter(f"tensor {index}")
        start = cursor.position
        name = cursor.string("name", GGUFTensorError, limits.NAME_BYTES)
        if not name:
            raise cursor.fault(GGUFTensorError, "the name is empty", start)
        cursor.enter(f"tensor {shown(name)}")
        if name in names:
            raise cursor.fault(GGUFTensorError, "the name is there twice", start)
        names.add(name)
        infos.append(_read_rest(cursor, name))
    return infos


def _read_rest(cursor: Cursor, name: str) -> TensorInfo:
    start = cursor.position
    dimension_count = cursor.u32("number of dimensions")
    if dimension_count > limits.DIMENSIONS:
        text = f"{dimension_count} dimensions, more than {limits.DIMENSIONS}"
        raise cursor.fault(GGUFTensorError, text, start)
    element_count = 1
    dimensions = []
    for _ in range(dimension_count):
        dimensions.append(cursor.u64("dimension"))
        element_count *= dimensions[-1]
    shape = tuple(reversed(dimensions))
    if not 0 < element_count <= _LARGEST_ELEMENT_COUNT:
        raise cursor.fault(GGUFTensorError, f"shape {shape} cannot be", start)
    start = cursor.position
    number = cursor.u32("block type")
    block_type = BLOCK_TYPES.get(number)
    if block_type is None:
        raise cursor.fault(GGUFTensorError, f"unknown block type {number}", start)
    row_length = shape[-1] if shape else 1
    if row_length % block_type.block_elements:
        text = (
            f"rows of {row_length} elements are not whole blocks of "
            f"{block_type.block_elements} ({block_type.name})"
        )
        raise cursor.fault(GGUFTensorError, text, start)
    offset = cursor.u64("offset")
    return TensorInfo(name, shape, block_type, offset, block_type.bytes_of(element_count))


def place_tensors(
    infos: list[TensorInfo], data_offset: int, alignment: int, path: str, size_bytes: int
) -> dict[str, TensorInfo]:
    """The tensors with offsets in the file, in the header's order.

    Raises GGUFLayoutError for an offset that is misaligned, outside the file or within another
    tensor, and GGUFTruncatedError when the file ends inside a tensor.
    """
    placed: dict[str, TensorInfo] = {}
    for info in infos:
        offset = data_offset + info.offset
        if info.offset % alignment:
            where = f"{path}: at byte {offset}, tensor {shown(info.name)}"
            text = f"offset {info.offset} is not a multiple of the alignment {alignment}"
            raise GGUFLayoutError(f"{where}: {text}")
        placed[info.name] = TensorInfo(
            info.name, info.shape, info.block_type, offset, info.size_bytes
        )
    before: TensorInfo | None = None
    for info in sorted(placed.values(), key=lambda each: each.offset):
        where = f"{path}: at byte {info.offset}, tensor {shown(info.name)}"
        if before is not None and info.offset < before.end:
            text = f"it begins inside tensor {shown(before.name)}, which ends at {before.end}"
            raise GGUFLayoutError(f"{where}: {text}")
        if info.end > size_bytes:
            expected = data_offset if before is None else before.end
            if info.offset - expected >= alignment:
                raise GGUFLayoutError(f"{where}: outside the file of {size_bytes} bytes")
            text = f"it takes {info.size_bytes} bytes, and the file ends at {size_bytes}"
            raise GGUFTruncatedError(f"{where}: {text}")
        before = info
    return placed
