"""A GGUF header, read whole and checked: version, counts, metadata, tensors, alignment.

A pure function of the file's first bytes; it opens nothing and keeps nothing of what it read from.

Source of the layout: the GGUF specification (ggml/docs/gguf.md), versions 2 and 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from realm.errors import (
    GGUFMagicError,
    GGUFMetadataError,
    GGUFTruncatedError,
    GGUFVersionError,
)
from realm.gguf import limits
from realm.gguf.cursor import Cursor, shown
from realm.gguf.tensors import TensorInfo, place_tensors, read_tensor_infos
from realm.gguf.values import MetadataValue, read_metadata

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT_KEY = "general.alignment"
DEFAULT_ALIGNMENT = 32
SMALLEST_ALIGNMENT, LARGEST_ALIGNMENT = 8, 1 << 31

_OTHER_FORMATS: tuple[tuple[bytes, str], ...] = (
    (b"FUGG", "a GGUF file with its bytes swapped"),
    (b"\xef\xbb\xbf", "text with a byte order mark"),
    (b"\xff\xfe", "UTF-16 text with a byte order mark"),
    (b"\xfe\xff", "UTF-16 text with a byte order mark"),
    (b"version https://git-lfs", "a Git LFS pointer: the file itself was not fetched"),
    (b"<", "a web page or XML"),
    (b"PK", "a ZIP archive, such as a PyTorch checkpoint"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"(\xb5/\xfd", "compressed with zstd"),
    (b"lmgg", "a GGML file from before GGUF"),
    (b"fmgg", "a GGML file from before GGUF"),
    (b"tjgg", "a GGML file from before GGUF"),
)


@dataclass(frozen=True, slots=True)
class Header:
    """What a GGUF file says about itself.

    data_offset: where the tensor data section begins. Offsets and alignment are in bytes.
    """

    version: int
    alignment: int
    data_offset: int
    metadata: Mapping[str, MetadataValue]
    tensors: Mapping[str, TensorInfo]


def read_header(view: memoryview, path: str, size_bytes: int) -> Header:
    """The header of a file of `size_bytes` whose front is `view`. Raises a GGUFError."""
    cursor = Cursor(view, path, size_bytes)
    version = _read_version(cursor)
    tensor_count = cursor.count("tensor count", limits.TENSORS, limits.SMALLEST_TENSOR_BYTES)
    key_count = cursor.count("metadata count", limits.METADATA_KEYS, limits.SMALLEST_KEY_BYTES)
    metadata = read_metadata(cursor, key_count)
    alignment = _alignment(metadata, path)
    infos = read_tensor_infos(cursor, tensor_count)
    data_offset = -(-cursor.position // alignment) * alignment
    tensors = place_tensors(infos, data_offset, alignment, path, size_bytes)
    return Header(
        version, alignment, data_offset, MappingProxyType(metadata), MappingProxyType(tensors)
    )


def _read_version(cursor: Cursor) -> int:
    front = bytes(cursor.view[:32])
    if not front.startswith(MAGIC):
        if MAGIC.startswith(front):
            text = f"{cursor.path}: at byte 0: the file ends after {len(front)} bytes"
            raise GGUFTruncatedError(text)
        raise GGUFMagicError(f"{cursor.path}: at byte 0: not a GGUF file but {_guess(front)}")
    cursor.position = len(MAGIC)
    version = cursor.u32("version")
    if version in VERSIONS:
        return version
    text = f"version {version} cannot be read, only {VERSIONS}"
    if version and version & 0xFFFF == 0:
        text = "a big-endian file, and only little-endian ones can be read"
    raise cursor.fault(GGUFVersionError, text, len(MAGIC))


def _guess(front: bytes) -> str:
    for beginning, name in _OTHER_FORMATS:
        if front.startswith(beginning):
            return name
    if front[8:10] == b'{"':
        return "a safetensors file"
    return f"one that begins with {front[:8]!r}"


def _alignment(metadata: Mapping[str, MetadataValue], path: str) -> int:
    alignment = metadata.get(ALIGNMENT_KEY, DEFAULT_ALIGNMENT)
    place = f"{path}: metadata key {shown(ALIGNMENT_KEY)}"
    if isinstance(alignment, bool) or not isinstance(alignment, int):
        raise GGUFMetadataError(f"{place}: must be an integer, not {type(alignment).__name__}")
    in_range = SMALLEST_ALIGNMENT <= alignment <= LARGEST_ALIGNMENT
    if not in_range or alignment & (alignment - 1):
        raise GGUFMetadataError(
            f"{place}: must be a power of two of {SMALLEST_ALIGNMENT} to {LARGEST_ALIGNMENT}, "
            f"not {alignment}"
        )
    return alignment
