"""Lines of the log are made and written by a thread of their own, some at a time.

So no request waits for them, and none for whoever has stopped to read what this process tells.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence

_MOST_WAITING = 10_000
_GATHER_SECONDS = 0.02
_LAST_SECONDS = 2.0


@contextlib.contextmanager
def logs_in_background(
    most_waiting: int = _MOST_WAITING, last_seconds: float = _LAST_SECONDS
) -> Iterator[None]:
    """The root logger's handlers do their work on another thread until the end.

    most_waiting: records; what comes while so many wait is dropped, and a line tells how many were.
    last_seconds: that the end waits for those that still do.
    """
    root = logging.getLogger()
    handlers = root.handlers[:]
    thread = _LogThread(handlers, most_waiting)
    root.handlers[:] = [thread]
    try:
        yield
    finally:
        root.handlers[:] = handlers
        thread.end(last_seconds)


class _LogThread(logging.Handler):
    """Takes records as they are and never waits; `emit` is called with the handler's lock held."""

    def __init__(self, handlers: Sequence[logging.Handler], most_waiting: int) -> None:
        super().__init__()
        self._handlers = handlers
        self._most_waiting = most_waiting
        self._waiting: deque[logging.LogRecord] = deque()
        self._dropped = 0
        self._has_some = threading.Event()
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._main, name="realm-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        if len(self._waiting) >= self._most_waiting:
            self._dropped += 1
            return
        if self._dropped:
            self._waiting.append(_dropped_record(self._dropped))
            self._dropped = 0
        self._waiting.append(record)
        # Waking the thread for every record would make it and the caller take turns at Python's
        # lock: it comes once, and waits for what follows.
        if not self._has_some.is_set():
            self._has_some.set()

    def end(self, seconds: float) -> None:
        """Writes what is left, for so long at most."""
        self._is_ending.set()
        self._has_some.set()
        self._thread.join(seconds)

    def _main(self) -> None:
        while not (self._is_ending.is_set() and not self._waiting):
            self._has_some.wait()
            self._is_ending.wait(_GATHER_SECONDS)
            self._has_some.clear()
            while self._waiting:
                self._write(self._waiting.popleft())

    def _write(self, record: logging.LogRecord) -> None:
        for handler in self._handlers:
            if record.levelno >= handler.level:
                handler.handle(record)


def _dropped_record(count: int) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": "realm.server.log",
            "levelno": logging.WARNING,
            "levelname": "WARNING",
            "msg": "lines were dropped: nobody read those before them in time",
            "count": count,
        }
    )
