"""A zip of a PEFT folder, unpacked without trust: two files of known names, of bounded size.

Nothing of what the archive says decides where something is written. Its list of entries is
measured before it is read, sizes are counted while unpacking, and whatever has a path that leads
elsewhere or is a link refuses the whole.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from realm.errors import AdapterFormatError, AdapterOpenError

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
_CONFIG_BYTES = 1 << 20
_LIST_BYTES = 64 << 10
_EXPANSION = 200  # times its packed size; numbers that were trained hardly shrink
_CHUNK_BYTES = 1 << 20
_END = struct.Struct("<4s4H2LH")  # APPNOTE.TXT 4.3.16
_END_SIGNATURE, _LONG_END_SIGNATURE = b"PK\x05\x06", b"PK\x06\x07"
_LONG_END_BYTES = 20
_DAMAGED = (
    zlib.error,
    struct.error,
    EOFError,
    OSError,  # a place before the file's beginning
    RuntimeError,  # an encrypted entry, a version that zipfile does not know
    ValueError,
    OverflowError,
    LookupError,
)
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def unpack_peft(archive: Path, folder: Path, most_bytes: int) -> None:
    """Write the two files into `folder`, which exists. most_bytes: of both together.

    Raises AdapterFormatError or AdapterOpenError for the archive, OSError for the disk.
    """
    _check_list(archive)
    with ExitStack() as stack:
        with _reading():
            opened = stack.enter_context(zipfile.ZipFile(archive))
        entries = _wanted(opened.infolist())
        left = most_bytes
        for name, bound in ((CONFIG_FILE, _CONFIG_BYTES), (WEIGHTS_FILE, most_bytes)):
            entry = entries[name]
            allowed = min(bound, left, _EXPANSION * entry.compress_size + _CHUNK_BYTES)
            left -= _unpack(opened, entry, folder / name, allowed)


@contextmanager
def _reading() -> Iterator[None]:
    """What the library stumbles over is the archive's fault."""
    try:
        yield
    except (zipfile.BadZipFile, *_DAMAGED) as error:
        raise AdapterFormatError(f"the zip is damaged: {type(error).__name__}") from error


def _check_list(archive: Path) -> None:
    """The list of entries is read whole, so it must be short before anything reads it."""
    size = archive.stat().st_size
    with archive.open("rb") as stream:
        stream.seek(max(size - _END.size - _LONG_END_BYTES, 0))
        tail = stream.read()
    if len(tail) < _END.size or tail[-_END.size :][:4] != _END_SIGNATURE:
        raise AdapterFormatError("the zip is cut, or has a comment")
    list_bytes, comment_bytes = _END.unpack(tail[-_END.size :])[5::2]
    if comment_bytes or tail.startswith(_LONG_END_SIGNATURE):
        raise AdapterFormatError("zips with a comment or in the form for more than 4 GiB are not")
    if list_bytes > _LIST_BYTES:
        raise AdapterFormatError("the zip has too many entries")


def _wanted(entries: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The two files, both in the same folder of the archive or at its top."""
    found: dict[str, zipfile.ZipInfo] = {}
    folders = set()
    for entry in entries:
        path = entry.filename
        if path.startswith("/") or "\\" in path or ".." in path.split("/") or ":" in path:
            raise AdapterFormatError("the zip has a path that leads out of it")
        mode = entry.external_attr >> 16
        if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_IFMT(mode) == 0):
            raise AdapterFormatError("the zip has a link or another special file")
        folder, _, name = path.rpartition("/")
        if name not in (CONFIG_FILE, WEIGHTS_FILE):
            continue
        if name in found:
            raise AdapterFormatError(f"the zip has two files {name}")
        if entry.flag_bits & 0x1 or entry.compress_type not in _METHODS:
            raise AdapterFormatError(f"{name} is encrypted or packed in an unusual way")
        found[name] = entry
        folders.add(folder)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if name not in found:
            raise AdapterOpenError(f"the zip has no {name}")
    if len(folders) > 1:
        raise AdapterFormatError("the zip's two files are in different folders")
    return found


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, allowed: int) -> int:
    """How many bytes were written; never more than allowed."""
    written = 0
    with ExitStack() as stack:
        with _reading():
            source = stack.enter_context(archive.open(entry))
        target = stack.enter_context(path.open("xb"))
        while True:
            with _reading():
                chunk = source.read(_CHUNK_BYTES)
            if not chunk:
                return written
            written += len(chunk)
            if written > allowed:
                raise AdapterFormatError(f"{path.name} in the zip is too large when unpacked")
            target.write(chunk)
