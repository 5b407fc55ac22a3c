"""One request in its own guest: polled, answered, and brought to a result or a typed error."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from realm.errors import GuestContractError, GuestError, GuestLimitError, GuestTrapError, RealmError
from realm.runtime import _guest
from realm.runtime.component_guest import RUNNING, ComponentGuest
from realm.runtime.contract import ErrorCode
from realm.runtime.guest_memory import GuestMemory
from realm.runtime.guest_state import GuestState, Surroundings
from realm.runtime.handles import ModelHandle, SessionHandle
from realm.runtime.host_call import (
    Answer,
    HostCallError,
    WaitForLayer,
    WaitForRoom,
    WaitForStep,
    WaitForTurn,
    WaitForWork,
)
from realm.runtime.host_functions import HANDLERS, refusal
from realm.runtime.older_form import older_request
from realm.runtime.result import GenerationResult
from realm.session import Piece

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from realm.engine import LayerRows, StepOutput, TokenLogprobs
    from realm.runtime.program import GuestProgram
    from realm.runtime.request import Request
    from realm.runtime.timings import Stopwatch

_PARKED = _guest.PARKED
_TURN_CALLS = 64
_TURN_SECONDS = 0.002
_FAILURES: dict[int, type[GuestError]] = {
    _guest.TRAPPED: GuestTrapError,
    _guest.LIMIT: GuestLimitError,
    _guest.CONTRACT: GuestContractError,
}
_FINISH_REASON_LENGTH = 64
_FIRST_HANDLE = 1
_Wait: TypeAlias = WaitForStep | WaitForLayer | WaitForRoom | WaitForWork | WaitForTurn
_ENGINE_WAITS = (WaitForStep, WaitForLayer)


class GuestRun:
    """See `realm.runtime.run.Run`."""

    def __init__(
        self,
        request: Request,
        program: GuestProgram,
        surroundings: Surroundings,
        stopwatch: Stopwatch,
    ) -> None:
        """Raises GuestLimitError when no guest slot is free, RequestError for the request."""
        self.stopwatch = stopwatch
        self.sequence: int | None = None
        self.needs_signal = False
        self.signal_deadline: float | None = None
        self.is_busy = False
        self.layer_rows: LayerRows | None = None
        self.result: GenerationResult | None = None
        self.error: RealmError | None = None
        self.memory_bytes = 0
        self.deadline: float | None = surroundings.now() + surroundings.limits.wall_seconds
        self._request = request
        self._surroundings = surroundings
        self._wait: _Wait | None = None
        self._is_older = program.is_older
        self._last_piece: Piece | None = None
        self._guest: _guest.Guest | ComponentGuest | None = _start(program, request, surroundings)
        self._state = GuestState(surroundings, GuestMemory(self._guest))
        if isinstance(self._guest, _guest.Guest):
            self._state.native = self._guest
        if self._is_older:
            self._state.models.add(ModelHandle(request.model))
        self._texts: list[str] = []

    def note_piece(self, piece: Piece) -> None:
        """A piece went out; kept for the result."""
        self._texts.append(piece.text)

    def advance(self) -> None:
        """See `Run`. Raises GuestLimitError when the tenant's guests have too much memory."""
        self.is_busy = False
        if self._last_piece is not None:
            self._put_last_piece(self._last_piece)
            return
        wait = self._wait
        if wait is None:
            self.needs_signal = False
        elif not isinstance(wait, _ENGINE_WAITS):
            self._complete(wait.retry)
        if self._wait is None:
            self._go_on()
        guest = self._guest
        if guest is not None and guest.memory_bytes != self.memory_bytes:
            more = guest.memory_bytes - self.memory_bytes
            self.memory_bytes += more
            self._surroundings.services.account.take_memory(more)

    def _go_on(self) -> None:
        """Runs the guest until it waits, ends, or has had its turn."""
        guest, state = self._guest, self._state
        now = self._surroundings.now
        turn_end = now() + _TURN_SECONDS
        calls = 0
        while guest is not None and self._wait is None:
            outcome, payload = guest.poll(state.output_room())
            news = guest.news
            if news is not None:
                state.hear(*news)
            if outcome == _PARKED:
                number, arguments = payload
                try:
                    answer = HANDLERS[number](state, *arguments)
                except Exception as error:
                    answer = refusal(state, error)
                while isinstance(answer, WaitForStep):
                    output = self._surroundings.engine.take_known(answer.sequence)
                    if output is None:
                        break
                    self._surroundings.services.account.turns.pay_token()
                    self.stopwatch.token(now())
                    answer = self._answer(answer, output)
                if not isinstance(answer, int):
                    self._wait_for(answer)
                    return
                guest.resume(answer)
                calls += 1
                if calls == _TURN_CALLS or now() > turn_end:
                    self.is_busy = True
                    return
            elif outcome == _guest.YIELDED:
                self.is_busy = True
                return
            elif outcome == RUNNING:
                self.needs_signal = True
                return
            else:
                self._stop(outcome, payload)
                return

    def _stop(self, outcome: int, payload: Any) -> None:
        """The guest has ended by itself, or was ended."""
        if outcome == _guest.FINISHED:
            self._finish(payload)
            return
        message = " ".join(str(payload).split())
        prefix = "the program reached its limit: " if outcome == _guest.LIMIT else ""
        self.fail(_FAILURES[outcome](prefix + message))

    def deliver(self, output: StepOutput) -> None:
        """See `Run`."""
        assert isinstance(self._wait, WaitForStep)
        answer = self._answer(self._wait, output)
        self._wait = None
        self.sequence = None  # nothing else is set for such a wait
        if isinstance(answer, int):
            assert self._guest is not None
            self._guest.resume(answer)
        else:
            self._wait_for(answer)

    def _answer(self, wait: WaitForStep, output: StepOutput) -> Answer:
        try:
            if output.error is not None:
                raise output.error
            return wait.complete(output)
        except Exception as error:
            return refusal(self._state, error)

    def deliver_rows(self, rows: NDArray[np.float32] | RealmError) -> None:
        """See `Run`."""
        wait = self._wait
        assert isinstance(wait, WaitForLayer)
        self._complete(wait.complete, rows)

    def cancel(self) -> None:
        """See `Run`."""
        if self._guest is not None:
            self._end("cancelled", *self._tokens(None))

    def fail(self, error: RealmError) -> None:
        """See `Run`."""
        self._release()
        if self.result is None and self.error is None:
            self.error = error

    def _complete(self, call: Callable[..., Answer], *found: Any) -> None:
        """Ends a wait, or goes on with it: the rest of the host call, with what it waited for."""
        try:
            if found and isinstance(found[0], RealmError):
                raise found[0]
            answer = call(*found)
        except Exception as error:
            answer = refusal(self._state, error)
        self._forget_wait()
        if isinstance(answer, int):
            assert self._guest is not None
            self._guest.resume(answer)
        else:
            self._wait_for(answer)

    def _wait_for(self, answer: _Wait) -> None:
        self._wait = answer
        if isinstance(answer, WaitForStep):
            self.sequence = answer.sequence
        elif isinstance(answer, WaitForLayer):
            self.layer_rows = answer.rows
        elif isinstance(answer, WaitForTurn):
            self.is_busy = True
        else:
            self.needs_signal = True
            self.signal_deadline = answer.deadline if isinstance(answer, WaitForWork) else None

    def _forget_wait(self) -> None:
        self._wait = None
        self.sequence = None
        self.layer_rows = None
        self.needs_signal = False
        self.signal_deadline = None

    def _finish(self, answer: int) -> None:
        if self._is_older:
            self._finish_older()
            return
        state = self._state
        if answer < 0:
            if state.last_exception is not None and state.last_code == -answer:
                self.fail(state.last_exception)
                return
            symbols = {int(code): code.symbol for code in ErrorCode}
            name = symbols.get(-answer, "no code of the contract")
            detail = f": {state.last_error}" if state.last_code == -answer else ""
            kind = GuestLimitError if -answer == ErrorCode.LIMIT else GuestError
            self.fail(kind(f"the program returned {answer} ({name}){detail}"))
            return
        reason, count = _read_response(state.response)
        self._end(reason, *self._tokens(count))

    def _finish_older(self) -> None:
        assert isinstance(self._guest, _guest.Guest)
        data = self._guest.text
        try:
            self._state.count_output(len(data))
            text = data.decode()
        except HostCallError as error:
            self.fail(GuestLimitError(str(error)))
        except UnicodeDecodeError:
            self.fail(GuestError("generate returned a text that is not UTF-8"))
        else:
            self._put_last_piece(Piece(text, tuple(self._state.untold_token_ids)))

    def _put_last_piece(self, piece: Piece) -> None:
        """The guest has ended; its client may have to take something first."""
        if piece.text and not self._surroundings.put_piece(piece):
            self._last_piece = piece
            self.needs_signal = True
            return
        self._end("stop", *self._tokens(None))

    def _tokens(self, count: int | None) -> tuple[list[int], list[int]]:
        session: SessionHandle | None = self._state.first_session
        if session is None:
            return [], []
        token_ids = session.token_ids
        return session.prompt_token_ids, token_ids if count is None else token_ids[:count]

    def _end(self, reason: str, prompt_token_ids: list[int], token_ids: list[int]) -> None:
        self._release()
        timings = self.stopwatch.finish(
            self._surroundings.now(),
            load_seconds=self._request.model.load_seconds,
            prompt_tokens=len(prompt_token_ids),
            completion_tokens=len(token_ids),
        )
        self.result = GenerationResult(
            text="".join(self._texts),
            token_ids=tuple(token_ids),
            prompt_token_ids=tuple(prompt_token_ids),
            finish_reason=reason,
            timings=timings,
            response=self._state.response,
            logprobs=self._logprobs(len(token_ids)),
        )

    def _logprobs(self, count: int) -> tuple[TokenLogprobs | None, ...] | None:
        if self._surroundings.options.sampling.logprobs is None:
            return None
        session = self._state.first_session
        found = [] if session is None else session.logprobs[:count]
        return (*found, *[None] * (count - len(found)))

    def _release(self) -> None:
        if self._guest is None:
            return
        if isinstance(self._guest, ComponentGuest):
            self._guest.close()
        self._guest = None
        self._surroundings.services.account.take_memory(-self.memory_bytes)
        self.memory_bytes = 0
        self._state.memory.release()
        self._state.native = None
        self._forget_wait()
        self.is_busy = False
        self._state.close()


def _start(
    program: GuestProgram, request: Request, surroundings: Surroundings
) -> _guest.Guest | ComponentGuest:
    limits = surroundings.limits
    if not program.is_older:
        return program.start(request.to_json(), limits, wake=surroundings.wake)
    older = older_request(request)
    form = (older.prompt_size, older.options_offset, _FIRST_HANDLE, limits.output_bytes)
    return program.start(older.data, limits, form)


def _read_response(response: bytes | None) -> tuple[str, int | None]:
    """The finish reason and the number of tokens, as far as the program tells them."""
    try:
        document = json.loads(response) if response is not None else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return "stop", None
    reason = document.get("finish_reason")
    count = document.get("completion_tokens")
    return (
        reason if isinstance(reason, str) and len(reason) <= _FINISH_REASON_LENGTH else "stop",
        count if isinstance(count, int) and count >= 0 else None,
    )
