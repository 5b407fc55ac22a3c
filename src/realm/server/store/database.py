"""A database behind a URL: opened with care, read and written in transactions.

SQLite's file belongs to its owner alone (mode 0600) and is in WAL mode, so that readers of other
processes never wait for a writer. A transaction is written whole or not at all.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from realm.errors import TenantStoreError
from realm.server.store.migrations import migrate

_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600
_RETRY_SECONDS = 0.02
_MAGIC = b"SQLite format 3\0"


class Database:
    """For any number of processes, and any thread, one at a time. Made or upgraded when opened."""

    def __init__(self, url: str, busy_seconds: float) -> None:
        """busy_seconds: how long to wait for another process's lock (SQLite). Raises
        TenantStoreError."""
        self._lock = threading.Lock()
        self._is_closed = False
        self._url = _parse(url)
        self.name = self._url.render_as_string(hide_password=True)
        """The URL without its password."""
        path = _file_of(self._url)
        self._file: _WatchedFile | None = None
        with self._told():
            if path is not None:
                self._file = _WatchedFile(path)
            self._engine = _make_engine(self._url, busy_seconds, is_file=path is not None)
        try:
            with self.writing() as connection:
                migrate(connection)
            if path is not None:
                with self._told():
                    path.chmod(_PRIVATE_FILE)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """For reading. Raises TenantStoreError for what its statements raise."""
        with self._transaction(writes=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction: all of its statements hold once this ends, or none when it raises.

        Raises TenantStoreError for what its statements raise.
        """
        with self._transaction(writes=True) as connection:
            yield connection

    def close(self) -> None:
        """Lets go of the database; safe to repeat."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._engine.dispose()
                if self._file is not None:
                    self._file.close()

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        with self._lock, self._told():
            if self._is_closed:
                raise TenantStoreError("it is closed")
            if self._file is not None:
                self._file.check()
            engine = self._engine.execution_options(realm_writes=writes)
            with engine.begin() as connection:
                yield connection

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors become TenantStoreErrors that say which database it is, never what was written."""
        try:
            yield
        except TenantStoreError as error:
            raise TenantStoreError(f"{self.name}: {error}") from error.__cause__
        except ModuleNotFoundError as error:
            raise TenantStoreError(f"{self.name}: needs {error.name}, which is not there") from None
        except DBAPIError as error:
            raise TenantStoreError(f"{self.name}: {error.orig}") from None
        except (SQLAlchemyError, OSError, ValueError, OverflowError) as error:
            raise TenantStoreError(f"{self.name}: {error}") from None


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        raise TenantStoreError(
            "the database's URL is not one: sqlite:////folder/realm.db, postgresql://..."
        ) from None


def _file_of(url: URL) -> Path | None:
    """The file of an SQLite database; None for one in memory and all others."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return None
    if url.query.get("uri"):
        raise TenantStoreError(f"{url.render_as_string()}: SQLite's own URIs are not taken")
    return Path(url.database)


class _WatchedFile:
    """SQLite's file, made where there is none, and looked at for what SQLite does not notice.

    SQLite would go on with a file that was removed, and all that it writes would be lost. The
    descriptor stays open until SQLite has let go of the file, since closing one would end SQLite's
    own locks (fcntl).
    """

    def __init__(self, path: Path) -> None:
        """Nobody else may ever have looked into it. SQLite gives its other files the same mode."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=_PRIVATE_FOLDER)
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE_FILE)

    def check(self) -> None:
        """Raises TenantStoreError for a file that is not where it was, and for one that something
        else was written over."""
        own = os.fstat(self._descriptor)
        try:
            is_there = os.path.samestat(own, self._path.stat())
        except OSError:
            is_there = False
        if not is_there:
            raise TenantStoreError("its file was removed or replaced while it was open")
        if own.st_size and os.pread(self._descriptor, len(_MAGIC), 0) != _MAGIC:
            raise TenantStoreError("its file is not a database any more")

    def close(self) -> None:
        """After SQLite has closed it. Safe to repeat."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _make_engine(url: URL, busy_seconds: float, *, is_file: bool) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    options: dict[str, Any] = {} if is_file else {"poolclass": StaticPool}
    arguments = {"timeout": busy_seconds, "check_same_thread": False}
    engine = create_engine(url, connect_args=arguments, **options)

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        del entry
        _set_up_sqlite(connection, busy_seconds)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer that began as a reader would be refused when another one was faster.
        writes = connection.get_execution_options().get("realm_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _set_up_sqlite(connection: DBAPIConnection, busy_seconds: float) -> None:
    driver: Any = connection
    driver.isolation_level = None  # transactions begin and end where this file says
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            driver.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            # For this one statement SQLite does not wait for other processes.
            is_locked = error.sqlite_errorcode & 0xFF in (
                sqlite3.SQLITE_BUSY,
                sqlite3.SQLITE_LOCKED,
            )
            if not is_locked or time.monotonic() >= deadline:
                raise
            time.sleep(_RETRY_SECONDS)
    driver.execute("PRAGMA synchronous = FULL")
    driver.execute("PRAGMA foreign_keys = ON")
