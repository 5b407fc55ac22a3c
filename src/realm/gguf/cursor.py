"""A position in a header that never passes its end: every read is checked before it is done.

Errors name the file, the byte and what was being read. Nothing here knows what the values mean.
"""

from __future__ import annotations

import struct

from realm.errors import GGUFCountError, GGUFError, GGUFTruncatedError
from realm.gguf import limits

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_SHOWN_CHARACTERS = 80


def shown(name: str) -> str:
    """A name out of a file, safe to print: quoted, escaped and of bounded length."""
    if len(name) > _SHOWN_CHARACTERS:
        name = name[:_SHOWN_CHARACTERS] + "…"
    return ascii(name)


class Cursor:
    """Reads little-endian values from the front of a file.

    view: the file's bytes, at most the first `limits.HEADER_BYTES`. size_bytes: the whole file's.
    """

    __slots__ = ("_place", "end", "path", "position", "size_bytes", "view")

    def __init__(self, view: memoryview, path: str, size_bytes: int) -> None:
        self.view = view
        self.path = path
        self.size_bytes = size_bytes
        self.end = len(view)
        self.position = 0
        self._place = "header"

    @property
    def remaining(self) -> int:
        """Bytes between the position and the end."""
        return self.end - self.position

    def enter(self, place: str) -> None:
        """Errors raised from now on name `place`."""
        self._place = place

    def fault(self, error: type[GGUFError], what: str, position: int | None = None) -> GGUFError:
        """An error that says where: to be raised by the caller."""
        place = self.position if position is None else position
        return error(f"{self.path}: at byte {place}, {self._place}: {what}")

    def require(self, byte_count: int, what: str) -> None:
        """Raise unless `byte_count` more bytes are there."""
        if byte_count > self.remaining:
            raise self.too_short(byte_count, what)

    def count(self, what: str, limit: int, smallest_bytes: int) -> int:
        """A 64-bit count of things of at least `smallest_bytes`, checked against what remains.

        A count above `limit` cannot be true; one below it that does not fit means a cut file.
        """
        start = self.position
        value = self.u64(what)
        if value > limit:
            raise self.fault(GGUFCountError, f"{what} is {value}, more than {limit}", start)
        if value * smallest_bytes > self.remaining:
            raise self.too_short(value * smallest_bytes, f"{what}, {value},", start)
        return value

    def too_short(self, byte_count: int, what: str, start: int | None = None) -> GGUFError:
        """The error for `byte_count` bytes that are not there after the position."""
        if byte_count <= self.size_bytes - self.position:
            text = f"{what} needs {byte_count} bytes: past the {self.end} that a header may take"
            return self.fault(GGUFCountError, text, start)
        text = f"{what} needs {byte_count} bytes, and the file ends after {self.remaining}"
        return self.fault(GGUFTruncatedError, text, start)

    def u32(self, what: str) -> int:
        """An unsigned 32-bit integer."""
        self.require(4, what)
        value: int = _U32.unpack_from(self.view, self.position)[0]
        self.position += 4
        return value

    def u64(self, what: str) -> int:
        """An unsigned 64-bit integer."""
        self.require(8, what)
        value: int = _U64.unpack_from(self.view, self.position)[0]
        self.position += 8
        return value

    def take(self, byte_count: int, what: str) -> bytes:
        """A copy of the next bytes."""
        self.require(byte_count, what)
        start = self.position
        self.position += byte_count
        return bytes(self.view[start : self.position])

    def string(self, what: str, error: type[GGUFError], limit: int = limits.HEADER_BYTES) -> str:
        """A length and that many bytes of UTF-8; `error` when they are not UTF-8."""
        start = self.position
        length = self.count(f"length of {what}", limit, 1)
        data = self.take(length, what)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as reason:
            raise self.fault(error, f"{what} is not UTF-8: {reason.reason}", start) from None
