"""A SQLite file that several threads use, one at a time. It does not know what is kept in it."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from realm.errors import ConfigError, StateStoreError


class StateFile:
    """In use by one process at a time; any thread of it. What a cursor wrote survives a crash."""

    def __init__(self, path: str | Path, owner: str, tables: Sequence[str]) -> None:
        """owner: who is closed, in an error. tables: statements that make what is missing.

        Raises ConfigError when the file cannot be opened or is something else.
        """
        self.path = path
        self._owner = owner
        self._lock = threading.Lock()
        self._is_closed = False
        try:
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        except (sqlite3.Error, ValueError) as error:  # ValueError: a zero byte in the path
            raise ConfigError(f"state_path {str(path)!r}: {error}") from None
        try:
            for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", *tables):
                self._connection.execute(statement)
        except sqlite3.Error as error:
            self._connection.close()
            raise ConfigError(f"state_path {str(path)!r}: {error}") from None

    @contextmanager
    def cursor(self) -> Iterator[sqlite3.Cursor]:
        """For one thread at a time; each statement is written by itself.

        Raises StateStoreError for what the statements raise, and once the file is closed.
        """
        with self._lock:
            if self._is_closed:
                raise StateStoreError(f"{self._owner} is closed")
            try:
                yield self._connection.cursor()
            except (sqlite3.Error, UnicodeEncodeError) as error:  # the latter: half a surrogate
                raise StateStoreError(f"{self.path}: {error}") from None

    def close(self) -> None:
        """Lets go of the file; safe to repeat."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                self._connection.close()
