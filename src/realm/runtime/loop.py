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
from itertools import islice
from typing import TYPE_CHECKING

from realm.errors import CancelledError, GuestLimitError, RealmError, RequestError
from realm.runtime.faults import error_of_one, host_fault
from realm.runtime.herald import Herald
from realm.runtime.inbox import Inbox
from realm.runtime.job import Job
from realm.runtime.request_queue import RequestQueue
from realm.runtime.run import Run

if TYPE_CHECKING:
    from realm.engine import Engine, LayerRows
    from realm.runtime.account import TenantAccount

_LOGGER = logging.getLogger(__name__)
_DEADLINE_CHECK_SECONDS = 0.25
# Guests that only compute get at most one part in this many of the time while others decode.
_BUSY_SHARE = 5
# How long rounds of single layers may take between two steps, and most rows of a round.
_LAYER_SECONDS = 0.002
_LAYER_ROWS = 512
# How many of those that wait for the thread are looked at between two steps.
_BUSY_LOOKS = 16
_REMOVED = "the request's tenant was removed"


class EngineLoop:
    """engine: used by this loop alone. now: seconds, monotonic. active_limit: requests at once.

    memory_limit: bytes of all guests' memory; while they have as much, no request begins.
    herald: for the engine thread; sent before each step.
    """

    def __init__(
        self,
        engine: Engine,
        now: Callable[[], float],
        active_limit: int,
        memory_limit: int = 1 << 62,
    ) -> None:
        self._engine = engine
        self._now = now
        self._active_limit = active_limit
        self._memory_limit = memory_limit
        self._inbox = Inbox(engine.interrupt, now)
        self._queue = RequestQueue()
        self.herald = Herald()
        self._active: dict[Job, None] = {}
        self._runnable: deque[Job] = deque()
        self._busy: deque[Job] = deque()
        self._waiting: dict[int, Job] = {}
        self._layered: deque[Job] = deque()
        self._alive_tenants = 0
        self._next_busy = 0.0
        self._next_deadline_check = 0.0
        self._thread = threading.Thread(target=self._main, name="realm-engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Any thread: the job will run, or fail. Raises RequestError once the loop is closed."""
        if not self._inbox.post(partial(self._enqueue, job), job.account, job):
            raise RequestError("the runtime is closed")

    def cancel(self, job: Job) -> None:
        """Any thread: the job ends within one step, or one call of several where its tenant has had
        more than its share; nothing happens if it has ended."""
        self._inbox.post(partial(self._cancel, job), job.account)

    def wake(self, job: Job) -> None:
        """Any thread: the job's client has taken output, or a worker has done its work."""
        self._inbox.post(partial(self._resume, job), job.account)

    def call(self, action: Callable[[], object]) -> None:
        """Any thread: `action` runs on the engine thread, soon; never when the loop is closed."""
        self._inbox.post(action)

    def run(self, action: Callable[[], None]) -> bool:
        """Any other thread: as `call`, and waits for the end; False when the loop was closed."""
        done = threading.Event()

        def act() -> None:
            try:
                action()
            finally:
                done.set()

        self._inbox.post(act)
        while not done.wait(_DEADLINE_CHECK_SECONDS):
            if not self._thread.is_alive():
                break
        return done.is_set()

    def end_all(self, account: TenantAccount) -> None:
        """The loop's own thread: ends all jobs of a removed tenant with CancelledError."""
        for job in [*self._active, *self._queue]:
            if job.account is account:
                self._fail(job, CancelledError(_REMOVED))

    def close(self) -> None:
        """Ends every job with CancelledError, then the thread."""
        self._inbox.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _main(self) -> None:
        while True:
            patience = _DEADLINE_CHECK_SECONDS if self._active else None
            letters, is_closed = self._inbox.take(0.0 if self._has_work() else patience)
            if is_closed:
                break
            for action, _ in letters:
                try:
                    action()
                except Exception:
                    _LOGGER.exception("a message to the engine thread failed")
            self._turn()
        unsent = [job for _, job in letters if job is not None]
        for job in [*unsent, *self._active, *self._queue]:
            self._fail(job, CancelledError("the runtime was closed"))
        self.herald.close()

    def _has_work(self) -> bool:
        if self._runnable or self._busy or self._layered or self._can_begin():
            return True
        return self._engine.has_work

    def _can_begin(self) -> bool:
        if not self._queue.has_ready or len(self._active) >= self._active_limit:
            return False
        runs = (job.run for job in self._active)
        return sum(run.memory_bytes for run in runs if run is not None) < self._memory_limit

    def _turn(self) -> None:
        while self._can_begin():
            self._begin(self._queue.take())
        now = self._now()
        for _ in range(len(self._runnable)):
            job = self._runnable.popleft()
            if self._alive_tenants > 1 and job.account.turns.is_spent(now):
                self._busy.append(job)
            else:
                now = self._advance(job, now)
        if self._layered:
            self._run_layers()
        if self._busy:
            self.herald.send()
            self._advance_busy()
        self.herald.send()
        if self._engine.has_work:
            if self._layered or (self._busy and self._is_busy_one_due()):
                self._engine.interrupt.set()
            self._step()
        if self._active and self._now() >= self._next_deadline_check:
            self._check_deadlines()

    def _advance_busy(self) -> None:
        started = self._now()
        if self._engine.has_work and started < self._next_busy:
            return
        job = self._take_busy(started)
        if job is None:
            return
        ended = self._advance(job, self._now())
        self._next_busy = ended + (_BUSY_SHARE - 1) * (ended - started)

    def _take_busy(self, now: float) -> Job | None:
        """The next whose tenant may have the thread; anyone's while no step waits for it."""
        is_free = self._alive_tenants == 1 or not self._engine.has_work
        for _ in range(min(len(self._busy), _BUSY_LOOKS)):
            job = self._busy.popleft()
            if is_free or not job.account.turns.is_spent(now):
                return job
            self._busy.append(job)
        return None

    def _is_busy_one_due(self) -> bool:
        """Whether one of those that wait for the thread may have it soon."""
        now = self._now()
        looked_at = islice(self._busy, _BUSY_LOOKS)
        return any(not job.account.turns.is_spent(now) for job in looked_at)

    def _run_layers(self) -> None:
        """Rounds of single layers for all guests that wait for some, for a turn's time at most."""
        end = self._now() + _LAYER_SECONDS
        while self._layered:
            batch, row_count = [], 0
            while self._layered and row_count < _LAYER_ROWS:
                job = self._layered.popleft()
                if job.run is not None and job.run.layer_rows is not None:
                    batch.append((job, job.run.layer_rows))
                    row_count += len(job.run.layer_rows.hidden)
            self._run_layer(batch)
            if self._now() > end:
                return

    def _run_layer(self, batch: list[tuple[Job, LayerRows]]) -> None:
        started = self._now()
        try:
            answers = self._engine.forward_layers([rows for _, rows in batch])
        except Exception as error:
            _LOGGER.exception("layers failed")
            for job, _ in batch:
                self._fail(job, host_fault(error))
            return
        now = self._now()
        row_seconds = (now - started) / sum(len(rows.hidden) for _, rows in batch)
        for (job, rows), answer in zip(batch, answers, strict=True):
            job.account.turns.charge(row_seconds * len(rows.hidden), now)
            if job.run is not None and self._guarded(job, partial(job.run.deliver_rows, answer)):
                self._advance(job, self._now())

    def _step(self) -> None:
        started = self._now()
        try:
            outputs = self._engine.step()
        except Exception as error:
            self._fail_step(error)
            return
        ended = self._now()
        seconds = ended - started
        waiting = self._waiting
        for job in waiting.values():
            job.stopwatch.native_seconds += seconds
        for output in outputs:
            answered = waiting.pop(output.sequence, None)
            if answered is None or answered.run is None:
                continue
            answered.account.turns.pay_token()
            if output.token_ids:
                answered.stopwatch.token(ended)
            try:
                answered.run.deliver(output)
            except Exception as error:
                self._fail_for(answered, error)
            else:
                self._line_up(answered)

    def _fail_step(self, error: Exception) -> None:
        _LOGGER.error("an engine step failed", exc_info=error)
        for job in list(self._waiting.values()):
            self._fail(job, error_of_one(error))

    def _check_deadlines(self) -> None:
        now = self._now()
        self._next_deadline_check = now + _DEADLINE_CHECK_SECONDS
        for job in list(self._active):
            run = job.run
            if run is not None and run.deadline is not None and now > run.deadline:
                self._fail(job, GuestLimitError("the program reached its limit: wall time"))
            elif run is not None and run.signal_deadline is not None and now > run.signal_deadline:
                self._resume(job)

    def _enqueue(self, job: Job) -> None:
        if job.is_cancelled:
            self._fail(job, CancelledError("the request was cancelled before it started"))
        elif job.account.is_removed:
            self._fail(job, CancelledError(_REMOVED))
        else:
            self._queue.add(job)

    def _line_up(self, job: Job) -> None:
        if not job.is_runnable:
            job.is_runnable = True
            self._runnable.append(job)

    def _begin(self, job: Job) -> None:
        started = self._now()
        job.stopwatch.start(started)
        self._active[job] = None
        job.account.live_guests += 1
        self._alive_tenants += job.account.live_guests == 1
        try:
            job.run = job.begin(job)
        except RealmError as error:
            self._fail(job, error)
        except Exception as error:
            _LOGGER.exception("a request could not be started")
            self._fail(job, host_fault(error))
        else:
            self._line_up(job)
        now = self._now()
        job.account.turns.charge(now - started, now)

    def _advance(self, job: Job, started: float) -> float:
        """The job's turn, which begins now; when it ended."""
        job.is_runnable = False
        run = job.run
        if run is None:
            return started
        if run.sequence is not None:
            self._waiting.pop(run.sequence, None)
        fine = False
        try:
            run.advance()
            fine = True
        except Exception as error:
            self._fail_for(job, error)
        now = self._now()
        job.stopwatch.guest_seconds += now - started
        job.account.turns.charge(now - started, now)
        if fine and (run.result is not None or run.error is not None):
            self._end(job)
        elif fine:
            if run.sequence is not None:
                self._waiting[run.sequence] = job
            elif run.layer_rows is not None:
                self._layered.append(job)
            if run.is_busy:
                self._busy.append(job)
        return now

    def _resume(self, job: Job) -> None:
        if job.run is not None and job.run.needs_signal:
            self._line_up(job)

    def _cancel(self, job: Job) -> None:
        run = job.run
        if run is None:
            if self._queue.remove(job):
                self._fail(job, CancelledError("the request was cancelled before it started"))
            job.is_cancelled = True
            return
        self._forget_wait(run)
        if self._guarded(job, run.cancel):
            self._end(job)

    def _guarded(self, job: Job, action: Callable[[], None]) -> bool:
        """Whether the action went well; if not, the job has failed."""
        try:
            action()
        except Exception as error:
            self._fail_for(job, error)
            return False
        return True

    def _fail_for(self, job: Job, error: Exception) -> None:
        if isinstance(error, RealmError):
            self._fail(job, error)
        else:
            _LOGGER.error("a request failed unexpectedly", exc_info=error)
            self._fail(job, host_fault(error))

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
        job.let_go()
        if job in self._active:
            del self._active[job]
            job.account.live_guests -= 1
            self._alive_tenants -= job.account.live_guests == 0
            self._queue.has_room(job.account)
        else:
            self._queue.remove(job)
        result = None if run is None else run.result
        if result is not None:
            job.account.note_result(result, job.stopwatch.guest_seconds)
            job.delivery.finish(result)
            return
        cause = (run.error if run is not None else None) or error
        cause = cause if cause is not None else RequestError("the request ended early")
        job.account.note_failure(cause, job.stopwatch.guest_seconds)
        job.delivery.fail(cause)

    def _forget_wait(self, run: Run) -> None:
        if run.sequence is not None:
            self._waiting.pop(run.sequence, None)
