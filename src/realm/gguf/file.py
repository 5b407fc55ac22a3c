"""An open GGUF file: its header, and views of its tensors' bytes in a memory map.

Tensor bytes are never copied here. What a file shows after it shrinks while mapped is undefined.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from realm.errors import (
    GGUFMetadataError,
    GGUFOpenError,
    GGUFTensorError,
    GGUFTruncatedError,
)
from realm.gguf import limits
from realm.gguf.cursor import shown
from realm.gguf.header import Header, read_header
from realm.gguf.strings import StringArray
from realm.gguf.tensors import TensorInfo
from realm.gguf.values import MetadataValue

_HASH_CHUNK_BYTES = 4 << 20

Kind = TypeVar("Kind", int, float, bool, str, "NDArray[Any]", StringArray)


def open_gguf(path: str | os.PathLike[str]) -> GGUFFile:
    """Open, map and check a GGUF file (version 2 or 3, little-endian).

    Reads only the header. Raises a GGUFError that names the file, the byte and the key or tensor.
    """
    name = os.fsdecode(path)
    descriptor = _open_regular_file(name)
    try:
        size_bytes = os.fstat(descriptor).st_size
        if size_bytes == 0:
            raise GGUFTruncatedError(f"{name}: the file is empty")
        try:
            mapping = mmap.mmap(descriptor, size_bytes, access=mmap.ACCESS_READ)
        except (OSError, ValueError, OverflowError) as reason:
            raise GGUFOpenError(f"{name}: cannot be mapped: {reason}") from reason
        try:
            with memoryview(mapping)[: limits.HEADER_BYTES] as view:
                header = read_header(view, name, size_bytes)
        except BaseException:
            _unmap(mapping)
            raise
    except BaseException:
        os.close(descriptor)
        raise
    return GGUFFile(Path(name), size_bytes, descriptor, mapping, header)


def _open_regular_file(name: str) -> int:
    # Without O_NONBLOCK a named pipe would wait for its other end.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(name, flags)
    except (OSError, ValueError) as reason:
        raise GGUFOpenError(f"{name}: cannot be opened: {reason}") from reason
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
    raise GGUFOpenError(f"{name}: {kind}")


def _unmap(mapping: mmap.mmap) -> None:
    # Views that are still in use keep the map; it goes with the last of them.
    with contextlib.suppress(BufferError):
        mapping.close()


class GGUFFile:
    """An open file. Close it, or use it as a context manager.

    Metadata stays usable after closing; so do the views that `tensor_data` gave, which keep the
    map alive until the last of them is gone.
    """

    __slots__ = (
        "_bytes",
        "_content_hash",
        "_descriptor",
        "_header",
        "_mapping",
        "path",
        "size_bytes",
    )

    def __init__(
        self, path: Path, size_bytes: int, descriptor: int, mapping: mmap.mmap, header: Header
    ) -> None:
        """Takes ownership of `descriptor` and `mapping`; use `open_gguf`."""
        self.path = path
        self.size_bytes = size_bytes
        self._descriptor = descriptor
        self._mapping: mmap.mmap | None = mapping
        self._bytes: NDArray[np.uint8] | None = np.frombuffer(mapping, dtype=np.uint8)
        self._header = header
        self._content_hash: str | None = None

    @property
    def descriptor(self) -> int:
        """To read by position; it is the file's own, and closed with it.

        Raises GGUFOpenError when the file is closed.
        """
        if self._mapping is None:
            raise GGUFOpenError(f"{self.path}: the file is closed")
        return self._descriptor

    @property
    def version(self) -> int:
        """2 or 3."""
        return self._header.version

    @property
    def alignment(self) -> int:
        """Bytes that every tensor's offset is a multiple of, within the data section."""
        return self._header.alignment

    @property
    def data_offset(self) -> int:
        """Where the tensor data section begins, in bytes from the beginning of the file."""
        return self._header.data_offset

    @property
    def metadata(self) -> Mapping[str, MetadataValue]:
        """Every key and value, in the file's order."""
        return self._header.metadata

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """Every tensor by name, in the file's order."""
        return self._header.tensors

    def get(self, key: str, kind: type[Kind], default: Kind) -> Kind:
        """The value of `key` as `require` gives it, or `default` when the key is not there."""
        return self.require(key, kind) if key in self.metadata else default

    def require(self, key: str, kind: type[Kind]) -> Kind:
        """The value of `key`, which must be of `kind`: int, float, bool, str, np.ndarray or
        StringArray. An integer also passes for a float, a bool never for an integer.

        Raises GGUFMetadataError, naming the key, when it is missing or of another kind.
        """
        try:
            value: Any = self.metadata[key]
        except KeyError:
            text = f"{self.path}: metadata key {shown(key)} is missing"
            raise GGUFMetadataError(text) from None
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise GGUFMetadataError(
                f"{self.path}: metadata key {shown(key)} must be of type {kind.__name__}, "
                f"not {type(value).__name__}"
            )
        return value

    def tensor(self, name: str) -> TensorInfo:
        """The tensor of this name; GGUFTensorError when there is none."""
        try:
            return self.tensors[name]
        except KeyError:
            raise GGUFTensorError(f"{self.path}: no tensor {shown(name)}") from None

    def tensor_data(self, name: str) -> NDArray[np.uint8]:
        """The tensor's bytes, uint8 [size_bytes]: a read-only view into the map, no copy."""
        info = self.tensor(name)
        if self._bytes is None:
            raise GGUFOpenError(f"{self.path}: the file is closed")
        return self._bytes[info.offset : info.end]

    def release(self, name: str) -> None:
        """Give back the memory of the pages that lie wholly inside this tensor.

        Its views stay usable: their pages come from the file again when they are read.
        """
        info = self.tensor(name)
        start = -(-info.offset // mmap.PAGESIZE) * mmap.PAGESIZE
        length = info.end // mmap.PAGESIZE * mmap.PAGESIZE - start
        if length > 0 and self._mapping is not None:
            self._mapping.madvise(mmap.MADV_DONTNEED, start, length)

    def content_hash(self) -> str:
        """The SHA-256 of the whole file, in lowercase hexadecimal; read once, then remembered.

        Reads through the descriptor, so that no page of the file counts as this process's memory.
        """
        if self._content_hash is None:
            self._content_hash = self._hash_content()
        return self._content_hash

    def _hash_content(self) -> str:
        if self._mapping is None:
            raise GGUFOpenError(f"{self.path}: the file is closed")
        digest = hashlib.sha256()
        chunk = memoryview(bytearray(min(self.size_bytes, _HASH_CHUNK_BYTES)))
        position = 0
        while position < self.size_bytes:
            try:
                count = os.preadv(self._descriptor, [chunk], position)
            except OSError as reason:
                raise GGUFOpenError(f"{self.path}: cannot be read: {reason}") from reason
            if count == 0:
                text = f"{self.path}: at byte {position}: the file has shrunk"
                raise GGUFTruncatedError(text)
            digest.update(chunk[:count])
            position += count
        return digest.hexdigest()

    def close(self) -> None:
        """Drop the map and the descriptor. Safe to call again."""
        mapping, self._mapping, self._bytes = self._mapping, None, None
        if mapping is not None:
            _unmap(mapping)
            os.close(self._descriptor)

    def __enter__(self) -> GGUFFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()
