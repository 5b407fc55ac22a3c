"""Compiled programs on disk, so that a process need not compile what an earlier one did.

An entry is native code that this process will execute, so nothing in the folder is believed: the
folder and every file in it must be ours alone, and every entry carries an HMAC-SHA256 (RFC 2104)
over its name and its bytes under a key that only we can read. An entry that does not check is
deleted and compiled again. The cache never fails a request: a folder that cannot be used is one
that holds nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from realm.errors import ConfigError

_LOGGER = logging.getLogger(__name__)
_KEY_NAME = "key"
_KEY_BYTES = 32
_MARK = b"realm-module-1\n"
_SIGNATURE_BYTES = hashlib.sha256().digest_size
_ENTRY_SUFFIX = ".module"
_PARTIAL_SUFFIX = ".partial"
_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600
_DEFAULT_BYTES = 256 << 20
_ABANDONED_SECONDS = 3600  # a file that someone died over


def default_module_directory() -> Path:
    """`$REALM_HOME/modules`, or `~/.cache/realm/modules` where REALM_HOME is not set.

    Raises ConfigError where there is no such home.
    """
    folder = Path(os.environ.get("REALM_HOME") or "~/.cache/realm")
    try:
        return folder.expanduser() / "modules"
    except RuntimeError as error:
        raise ConfigError(f"{str(folder)!r}: {error}; set REALM_HOME") from None


def default_module_cache() -> ModuleCache | None:
    """The cache in `default_module_directory()`; None, with a warning, where there is no home."""
    try:
        return ModuleCache(default_module_directory())
    except ConfigError as error:
        _LOGGER.warning("compiled programs are not kept: %s", error)
        return None


class ModuleCache:
    """For any number of threads and processes at once.

    directory: made at the first entry. byte_limit: of all entries; the longest unused go first.
    """

    def __init__(self, directory: Path, byte_limit: int = _DEFAULT_BYTES) -> None:
        self.directory = directory
        self.byte_limit = byte_limit

    def load(self, name: str) -> bytes | None:
        """The entry's code, if it is there and was written by us and is whole."""
        try:
            with self._folder() as folder:
                return self._load(folder, name + _ENTRY_SUFFIX)
        except FileNotFoundError:
            return None
        except OSError as error:
            _LOGGER.warning("the module cache in %s is not used: %s", self.directory, error)
            return None

    def store(self, name: str, code: bytes) -> None:
        """Puts an entry there, or in place of the one that is there, whole or not at all."""
        if len(code) > self.byte_limit:
            return
        try:
            self.directory.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
            with self._folder() as folder:
                signature = _sign(_make_key(folder), name + _ENTRY_SUFFIX, code)
                _write(folder, name + _ENTRY_SUFFIX, _MARK + signature + code)
                self._evict(folder)
        except OSError as error:
            _LOGGER.warning("the module cache in %s is not used: %s", self.directory, error)

    def _load(self, folder: int, file_name: str) -> bytes | None:
        try:
            data = _read_private(folder, file_name, self.byte_limit + 4096)
            code = _checked(_read_private(folder, _KEY_NAME, _KEY_BYTES), file_name, data)
        except _UntrustedError as error:
            _LOGGER.warning("a module in %s is compiled again: %s", self.directory, error)
            os.unlink(file_name, dir_fd=folder)
            return None
        os.utime(file_name, dir_fd=folder)
        return code

    @contextmanager
    def _folder(self) -> Iterator[int]:
        """The folder, opened and checked; later names are looked up in what was checked."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        folder = os.open(self.directory, flags)
        try:
            status = os.fstat(folder)
            if status.st_uid != os.geteuid() or status.st_mode & 0o077:
                raise PermissionError(f"{self.directory} is not ours alone")
            yield folder
        finally:
            os.close(folder)

    def _evict(self, folder: int) -> None:
        entries = []
        for file_name in os.listdir(folder):
            try:
                status = os.stat(file_name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                continue  # another process was faster
            if file_name.endswith(_ENTRY_SUFFIX):
                entries.append((status.st_mtime_ns, status.st_size, file_name))
            elif (
                file_name.endswith(_PARTIAL_SUFFIX)
                and status.st_mtime < time.time() - _ABANDONED_SECONDS
            ):
                _unlink_if_there(folder, file_name)
        total = sum(size for _, size, _ in entries)
        for _, size, file_name in sorted(entries):
            if total <= self.byte_limit:
                return
            _unlink_if_there(folder, file_name)
            total -= size


class _UntrustedError(Exception):
    """A file is not what we wrote."""


def _read_private(folder: int, file_name: str, byte_limit: int) -> bytes:
    """A whole file of ours. Raises _UntrustedError, or OSError when there is none."""
    # Not following links, and not waiting for the other end of a pipe.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(file_name, flags, dir_fd=folder)
    except FileNotFoundError:
        if file_name == _KEY_NAME:
            raise _UntrustedError("there is no key") from None
        raise
    except OSError as error:
        raise _UntrustedError(f"{file_name} cannot be opened: {error}") from None
    with open(descriptor, "rb") as stream:  # noqa: PTH123 (a descriptor has no path)
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _UntrustedError(f"{file_name} is not a file")
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            raise _UntrustedError(f"{file_name} is not ours alone")
        if status.st_size > byte_limit:
            raise _UntrustedError(f"{file_name} is too large")
        return stream.read(byte_limit)


def _checked(key: bytes, file_name: str, data: bytes) -> bytes:
    if len(key) != _KEY_BYTES:
        raise _UntrustedError("the key is not whole")
    start = len(_MARK) + _SIGNATURE_BYTES
    signature, code = data[len(_MARK) : start], data[start:]
    if not data.startswith(_MARK) or not hmac.compare_digest(
        signature, _sign(key, file_name, code)
    ):
        raise _UntrustedError(f"{file_name} was not written by us, or was changed since")
    return code


def _sign(key: bytes, file_name: str, code: bytes) -> bytes:
    """Over the name too, so that one entry cannot stand in another's place."""
    return hmac.digest(key, file_name.encode() + b"\0" + code, "sha256")


def _make_key(folder: int) -> bytes:
    """The folder's key; a new one where there is none that only we can have read."""
    # Under a lock, or one that saw no key would replace the key that another signs with.
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        with suppress(_UntrustedError):
            key = _read_private(folder, _KEY_NAME, _KEY_BYTES)
            if len(key) == _KEY_BYTES:
                return key
        key = os.urandom(_KEY_BYTES)
        _write(folder, _KEY_NAME, key)
        return key
    finally:
        fcntl.flock(folder, fcntl.LOCK_UN)


def _write(folder: int, file_name: str, data: bytes) -> None:
    partial = _write_partial(folder, data)
    try:
        os.replace(partial, file_name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        os.unlink(partial, dir_fd=folder)
        raise


def _write_partial(folder: int, data: bytes) -> str:
    name = os.urandom(8).hex() + _PARTIAL_SUFFIX
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(name, flags, _PRIVATE_FILE, dir_fd=folder)
    try:
        with open(descriptor, "wb") as stream:  # noqa: PTH123 (a descriptor has no path)
            stream.write(data)
    except OSError:
        os.unlink(name, dir_fd=folder)
        raise
    return name


def _unlink_if_there(folder: int, file_name: str) -> None:
    try:
        os.unlink(file_name, dir_fd=folder)
    except FileNotFoundError:
        return
