"""Opening and reading files of an adapter, without following where a stranger's links lead.

Bytes are read, never mapped: a mapped file that shrinks would end the process.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realm.errors import AdapterFormatError, AdapterOpenError

# Without O_NONBLOCK a named pipe would wait for its other end.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW


class ReadableFile:
    """A regular file, open for reading. A context manager."""

    __slots__ = ("_descriptor", "path", "size_bytes")

    def __init__(self, folder: Path, name: str) -> None:
        """Opens `name` of `folder`, which must be a file of its own there and no link.

        Raises FileNotFoundError when it is not there, else AdapterOpenError.
        """
        self.path = folder / name
        try:
            self._descriptor = os.open(self.path, _FLAGS)
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as reason:
            if isinstance(reason, OSError) and reason.errno == errno.ELOOP:
                text = "a symbolic link, which may lead out of the adapter's folder"
                raise AdapterOpenError(f"{self.path}: {text}") from None
            raise AdapterOpenError(f"{self.path}: cannot be opened: {reason}") from None
        status = os.fstat(self._descriptor)
        self.size_bytes = status.st_size
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise AdapterOpenError(f"{self.path}: not a regular file")

    @property
    def descriptor(self) -> int:
        """To read by position; it is closed with the file."""
        return self._descriptor

    def read(self, position: int, byte_count: int) -> NDArray[np.uint8]:
        """`byte_count` bytes from `position`: a new uint8 array. Errors as `read_into`."""
        data = np.empty(byte_count, np.uint8)
        self.read_into(position, data)
        return data

    def read_into(self, position: int, data: NDArray[np.uint8]) -> None:
        """Fills `data` with what stands from `position` on.

        Raises AdapterFormatError when the file ends before that, AdapterOpenError when it cannot
        be read.
        """
        rest = data.data
        while rest.nbytes:
            try:
                count = os.preadv(self._descriptor, [rest], position)
            except OSError as reason:
                raise AdapterOpenError(f"{self.path}: cannot be read: {reason}") from None
            if count == 0:
                raise AdapterFormatError(
                    f"{self.path}: ends at byte {position}, {rest.nbytes} bytes too early"
                )
            rest = rest[count:]
            position += count

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)

    def __enter__(self) -> ReadableFile:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()
