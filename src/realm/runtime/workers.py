"""Threads for what must not hold up the engine thread: compiling, loading, tools.

Each owner has its own line and at most its share of the threads, so that work that never ends
delays its owner alone. A worker never touches a guest, a session or the engine. Nothing that it
does ends its thread.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from realm.runtime.limits import HostLimits

_LOGGER = logging.getLogger(__name__)
T = TypeVar("T")


class Work(Generic[T]):
    """One thing to do. `on_done` is called on a worker thread, unless nobody waits any more.

    discard: what becomes of a result that nobody took. share: threads of its owner at most.
    """

    def __init__(
        self,
        owner: str,
        action: Callable[[], T],
        on_done: Callable[[], None],
        discard: Callable[[T], None] | None,
        share: int,
    ) -> None:
        self.owner = owner
        self.share = share
        self.is_done = False
        self.is_abandoned = False
        self._action: Callable[[], T] | None = action
        self._on_done = on_done
        self._discard = discard
        self._lock = threading.Lock()
        self._results: list[T] = []
        self._error: Exception | None = None

    def run(self) -> None:
        """Worker thread: does it, and keeps what comes of it."""
        action, self._action = self._action, None
        if action is None or self.is_abandoned:
            return
        results: list[T] = []
        error: Exception | None = None
        try:
            results.append(action())
        except Exception as caught:
            error = caught
        except BaseException as caught:  # such as sys.exit(): where it is taken it ends nothing
            _LOGGER.exception("work tried to end its thread")
            error = RuntimeError(f"{type(caught).__name__} on a worker's thread")
        with self._lock:
            self.is_done = True
            unwanted = self.is_abandoned
            if not unwanted:
                self._results, self._error = results, error
        try:
            if not unwanted:
                self._on_done()
            elif self._discard is not None and results:
                self._discard(results[0])
        except BaseException:
            _LOGGER.exception("what follows on a work failed")

    def take(self) -> T:
        """The result, once, when it is done; raises what the action raised."""
        with self._lock:
            error, self._error = self._error, None
            if error is not None:
                raise error
            return self._results.pop()

    def abandon(self) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            self.is_abandoned = True
            results, self._results = self._results, []
        if results and self._discard is not None:
            self._discard(results[0])


class Workers:
    """thread_count: threads at most, started when first needed. share: of one owner at most."""

    def __init__(self, name: str, thread_count: int, share: int) -> None:
        self._name = name
        self._thread_count = thread_count
        self._share = share
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        self._owner_rests = threading.Condition(lock)
        self._lines: dict[str, deque[Work[Any]]] = {}
        self._running: dict[str, int] = {}
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._closing = False

    def submit(
        self,
        owner: str,
        action: Callable[[], T],
        on_done: Callable[[], None],
        discard: Callable[[T], None] | None = None,
        share: int | None = None,
    ) -> Work[T]:
        """Any thread. Work submitted after `close` is never done. share: other than the usual."""
        work = Work(owner, action, on_done, discard, self._share if share is None else share)
        with self._changed:
            if not self._closing:
                self._lines.setdefault(owner, deque()).append(work)
                if not self._idle and len(self._threads) < self._thread_count:
                    number = len(self._threads)
                    # A tool that never returns must not keep the interpreter from ending.
                    thread = threading.Thread(
                        target=self._main, name=f"realm-{self._name}-{number}", daemon=True
                    )
                    self._threads.append(thread)
                    thread.start()
                self._changed.notify()
        return work

    def wait_for(self, owner: str) -> None:
        """Returns when nothing of the owner runs or waits to; not for a worker's own thread."""
        with self._changed:
            self._owner_rests.wait_for(lambda: self._closing or not self._has_work(owner))

    def close(self, wait_seconds: float | None = None) -> None:
        """Ends the threads after what they do now, and waits for that as long as it is told."""
        with self._changed:
            self._closing = True
            self._lines.clear()
            self._changed.notify_all()
            self._owner_rests.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(wait_seconds)

    def _main(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                work = self._next()
                while work is None and not self._closing:
                    self._changed.wait()
                    work = self._next()
                self._idle -= 1
                if work is None:
                    return
            owner = work.owner
            work.run()
            del work
            with self._changed:
                self._running[owner] -= 1
                if not self._running[owner]:
                    del self._running[owner]
                    self._owner_rests.notify_all()
                self._changed.notify()

    def _has_work(self, owner: str) -> bool:
        line = self._lines.get(owner, ())
        return owner in self._running or any(not work.is_abandoned for work in line)

    def _next(self) -> Work[Any] | None:
        """The first of the owner that has waited longest of those below their share."""
        for owner, line in list(self._lines.items()):
            while line and line[0].is_abandoned:
                line.popleft()
            if not line:
                del self._lines[owner]
                self._owner_rests.notify_all()
            elif self._running.get(owner, 0) < line[0].share:
                work = line.popleft()
                del self._lines[owner]
                if line:
                    self._lines[owner] = line  # behind the others
                self._running[owner] = self._running.get(owner, 0) + 1
                return work
        return None


def make_workers(limits: HostLimits) -> tuple[Workers, Workers]:
    """For what ends by itself, and for tools, of which the policy of each tenant allows some."""
    share = max(1, limits.worker_threads // 2)
    return (
        Workers("worker", limits.worker_threads, share),
        Workers("tool", limits.tool_threads, limits.tool_threads),
    )
