"""The engine thread: starts requests, takes their turns, runs the engine's steps.

It is the only thread that touches guests, sessions and the engine. Nothing that a guest or a
request does ends it: every error goes to the one request it belongs to.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from realm.errors import CancelledError, GuestLimitError, RealmError, RequestError
from realm.runtime.job import Job
from realm.runtime.run import Run

if TYPE_CHECKING:
    from realm.engine import Engine

_LOGGER = logging.getLogger(__name__)
_DEADLINE_CHECK_SECONDS = 0.25
# Guests that only compute get at most one part in this many of the time while others decode.
_BUSY_SHARE = 5


class EngineLoop:
    """engine: used by this loop alone. now: seconds, monotonic. active_limit: requests at once."""

    def __init__(self, engine: Engine, now: Callable[[], float], active_limit: int) -> None:
        self._engine = engine
        self._now = now
        self._active_limit = active_limit
        self._changed = threading.Condition()
        self._inbox: deque[tuple[Callable[[Job], None], Job]] = deque()
        self._closing = False
        self._queued: deque[Job] = deque()
        self._active: list[Job] = []
        self._runnable: deque[Job] = deque()
        self._busy: deque[Job] = deque()
        self._waiting: dict[int, Job] = {}
        self._next_busy = 0.0
        self._next_deadline_check = 0.0
        self._thread = threading.Thread(target=self._main, name="realm-engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Any thread: the job will run, or fail. Raises RequestError once the loop is closed."""
        self._post(self._enqueue, job, must_run=True)

    def cancel(self, job: Job) -> None:
        """Any thread: the job ends within one step; nothing happens if it has ended."""
        self._post(self._cancel, job, must_run=False)

    def make_room(self, job: Job) -> None:
        """Any thread: the job's client has taken output."""
        self._post(self._resume, job, must_run=False)

    def close(self) -> None:
        """Ends every job with CancelledError, then the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _post(self, action: Callable[[Job], None], job: Job, *, must_run: bool) -> None:
        with self._changed:
            if self._closing:
                if must_run:
                    raise RequestError("the runtime is closed")
                return
            self._inbox.append((action, job))
            self._changed.notify_all()

    def _main(self) -> None:
        while True:
            with self._changed:
                if not self._inbox and not self._closing and not self._has_work():
                    self._changed.wait(_DEADLINE_CHECK_SECONDS if self._active else None)
                letters = list(self._inbox)
                self._inbox.clear()
                if self._closing:
                    break
            for action, job in letters:
                action(job)
            self._turn()
        for _, job in letters:
            self._fail(job, CancelledError("the runtime was closed"))
        for job in [*self._active, *self._queued]:
            self._fail(job, CancelledError("the runtime was closed"))

    def _has_work(self) -> bool:
        return bool(self._runnable or self._busy or self._can_begin() or self._engine.has_work)

    def _can_begin(self) -> bool:
        return bool(self._queued) and len(self._active) < self._active_limit

    def _turn(self) -> None:
        while self._can_begin():
            self._begin(self._queued.popleft())
        for _ in range(len(self._runnable)):
            self._advance(self._runnable.popleft())
        self._advance_busy()
        if self._engine.has_work:
            self._step()
        if self._active and self._now() >= self._next_deadline_check:
            self._check_deadlines()

    def _advance_busy(self) -> None:
        started = self._now()
        if not self._busy or (self._engine.has_work and started < self._next_busy):
            return
        self._advance(self._busy.popleft())
        ended = self._now()
        self._next_busy = ended + (_BUSY_SHARE - 1) * (ended - started)

    def _step(self) -> None:
        started = self._now()
        try:
            outputs = self._engine.step()
        except Exception as error:
            self._fail_step(error)
            return
        seconds = self._now() - started
        for job in self._waiting.values():
            job.stopwatch.native_seconds += seconds
        for output in outputs:
            if output.sequence not in self._waiting:
                continue
            job = self._waiting.pop(output.sequence)
            if job.run is not None and self._guarded(job, partial(job.run.deliver, output)):
                self._runnable.append(job)

    def _fail_step(self, error: Exception) -> None:
        _LOGGER.error("an engine step failed", exc_info=error)
        cause = error if isinstance(error, RealmError) else _fault(error)
        for job in list(self._waiting.values()):
            self._fail(job, cause)

    def _check_deadlines(self) -> None:
        now = self._now()
        self._next_deadline_check = now + _DEADLINE_CHECK_SECONDS
        for job in list(self._active):
            run = job.run
            if run is not None and run.deadline is not None and now > run.deadline:
                self._fail(job, GuestLimitError("the program reached its limit: wall time"))

    def _enqueue(self, job: Job) -> None:
        self._queued.append(job)

    def _begin(self, job: Job) -> None:
        job.stopwatch.start(self._now())
        self._active.append(job)
        try:
            job.run = job.begin(job)
        except RealmError as error:
            self._fail(job, error)
        except Exception as error:
            _LOGGER.exception("a request could not be started")
            self._fail(job, _fault(error))
        else:
            self._runnable.append(job)

    def _advance(self, job: Job) -> None:
        run = job.run
        if run is None:
            return
        started = self._now()
        self._forget_wait(run)
        fine = self._guarded(job, run.advance)
        job.stopwatch.guest_seconds += self._now() - started
        if not fine:
            return
        if run.result is not None or run.error is not None:
            self._end(job)
            return
        if run.sequence is not None:
            self._waiting[run.sequence] = job
        if run.is_busy:
            self._busy.append(job)

    def _resume(self, job: Job) -> None:
        if job.run is not None and job.run.needs_room and job not in self._runnable:
            self._runnable.append(job)

    def _cancel(self, job: Job) -> None:
        run = job.run
        if run is None:
            if job in self._queued:
                self._queued.remove(job)
                self._fail(job, CancelledError("the request was cancelled before it started"))
            return
        self._forget_wait(run)
        if self._guarded(job, run.cancel):
            self._end(job)

    def _guarded(self, job: Job, action: Callable[[], None]) -> bool:
        """Whether the action went well; if not, the job has failed."""
        try:
            action()
        except RealmError as error:
            self._fail(job, error)
        except Exception as error:
            _LOGGER.exception("a request failed unexpectedly")
            self._fail(job, _fault(error))
        else:
            return True
        return False

    def _fail(self, job: Job, error: RealmError) -> None:
        run = job.run
        if run is not None:
            self._forget_wait(run)
            try:
                run.fail(error)
            except Exception:
                _LOGGER.exception("a request could not be closed")
        self._end(job, error)

    def _end(self, job: Job, error: RealmError | None = None) -> None:
        """Tells the client; `error` stands when the run itself knows neither result nor error."""
        if job.has_ended:
            return
        run = job.run
        job.has_ended = True
        job.run = None
        if job in self._active:
            self._active.remove(job)
        if run is not None and run.result is not None:
            job.delivery.finish(run.result)
            return
        cause = (run.error if run is not None else None) or error
        job.delivery.fail(cause if cause is not None else RequestError("the request ended early"))

    def _forget_wait(self, run: Run) -> None:
        if run.sequence is not None:
            self._waiting.pop(run.sequence, None)


def _fault(error: Exception) -> RequestError:
    fault = RequestError(f"a fault of the host: {type(error).__name__}: {error}")
    fault.__cause__ = error
    return fault
