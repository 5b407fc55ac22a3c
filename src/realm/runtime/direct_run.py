"""One request in a session of the host alone: the same engine, no guest. For measurements."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from realm.errors import RealmError
from realm.runtime.result import GenerationResult
from realm.session import Piece

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from realm.engine import LayerRows, StepOutput, TokenLogprobs
    from realm.runtime.request import Request
    from realm.runtime.timings import Stopwatch
    from realm.session import InferenceSession


class DirectRun:
    """See `realm.runtime.run.Run`."""

    def __init__(
        self,
        request: Request,
        session: InferenceSession,
        prompt_token_ids: list[int],
        *,
        put_piece: Callable[[Piece], bool],
        now: Callable[[], float],
        stopwatch: Stopwatch,
    ) -> None:
        self.stopwatch = stopwatch
        self.sequence: int | None = None
        self.needs_signal = False
        self.signal_deadline: float | None = None
        self.is_busy = False
        self.layer_rows: LayerRows | None = None
        self.result: GenerationResult | None = None
        self.error: RealmError | None = None
        self.deadline: float | None = None
        self.memory_bytes = 0
        self._request = request
        self._session = session
        self._prompt_token_ids = prompt_token_ids
        self._put_piece = put_piece
        self._now = now
        self._started = False
        self._pieces: list[Piece] = []
        self._texts: list[str] = []
        self._untold_token_ids: list[int] = []
        self._untold_logprobs: list[TokenLogprobs] = []
        self._output: StepOutput | None = None

    def note_piece(self, piece: Piece) -> None:
        """A piece went out; kept for the result."""
        self._texts.append(piece.text)

    def advance(self) -> None:
        """See `Run`."""
        try:
            if not self._started:
                self._started = True
                self._session.start()
            elif self._put_pieces() and self._output is not None:
                output, self._output = self._output, None
                self._pieces = self._with_text(self._session.advance(output))
                self._put_pieces()
            self._look()
        except RealmError as error:
            self.fail(error)

    def deliver(self, output: StepOutput) -> None:
        """See `Run`."""
        self.sequence = None
        if output.error is not None:
            self.fail(output.error)
            return
        self._output = output

    def deliver_rows(self, rows: NDArray[np.float32] | RealmError) -> None:
        """See `Run`; a session asks for none."""

    def cancel(self) -> None:
        """See `Run`."""
        if self.result is None and self.error is None:
            self._end("cancelled")

    def fail(self, error: RealmError) -> None:
        """See `Run`."""
        if self.result is None and self.error is None:
            self._session.close()
            self.error = error
        self.sequence = None
        self.needs_signal = False

    def _with_text(self, pieces: list[Piece]) -> list[Piece]:
        """Pieces that show something; the tokens of the others go with the next that does."""
        shown = []
        for piece in pieces:
            self._untold_token_ids += piece.token_ids
            self._untold_logprobs += piece.logprobs
            if piece.text:
                ids, logprobs = tuple(self._untold_token_ids), tuple(self._untold_logprobs)
                shown.append(Piece(piece.text, ids, logprobs))
                self._untold_token_ids.clear()
                self._untold_logprobs.clear()
        return shown

    def _put_pieces(self) -> bool:
        while self._pieces and self._put_piece(self._pieces[0]):
            self._pieces = self._pieces[1:]
        self.needs_signal = bool(self._pieces)
        return not self.needs_signal

    def _look(self) -> None:
        # The session has asked for its next token already, whether or not the client keeps up.
        waits = not self._session.finished and self._output is None
        self.sequence = self._session.sequence if waits else None
        if self._session.finished and not self.needs_signal:
            self._end(self._session.finish_reason)

    def _end(self, reason: str) -> None:
        token_ids = tuple(self._session.token_ids)
        logprobs = self._session.logprobs
        self._session.close()
        self.sequence = None
        self.needs_signal = False
        timings = self.stopwatch.finish(
            self._now(),
            load_seconds=self._request.model.load_seconds,
            prompt_tokens=len(self._prompt_token_ids),
            completion_tokens=len(token_ids),
        )
        self.result = GenerationResult(
            text="".join(self._texts),
            token_ids=token_ids,
            prompt_token_ids=tuple(self._prompt_token_ids),
            finish_reason=reason,
            timings=timings,
            logprobs=logprobs,
        )
