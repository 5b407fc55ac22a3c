"""The one thread that writes to the front: all that a step gave to all requests in one go.

Whoever has something to say leaves it here and goes on; the thread is woken once, however many
speak before it looks. A front that reads slowly holds up this thread alone: requests then wait for
room as they do for any slow client.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from realm.errors import RealmError, ServerError, WireError
from realm.runtime.faults import host_fault
from realm.server.engine_process.running_request import RunningRequest
from realm.server.engine_process.wire_values import wire_result
from realm.server.wire.failures import failure_message
from realm.server.wire.frames import FrameEncoder
from realm.server.wire.messages import Answer, Failed, Piece, Pieces

_LOGGER = logging.getLogger(__name__)
_MOST_TOGETHER = 1 << 20  # characters and tokens of one message of pieces
_MOST_UNSENT = 1 << 22  # bytes that are put together before they are sent


class AnswerWriter:
    """describe: an error in words for clients. on_end: a request has been answered to its end.
    on_lost: nothing can be sent any more. All are called on the writer's thread."""

    def __init__(
        self,
        connection: socket.socket,
        *,
        describe: Callable[[RealmError], str],
        on_end: Callable[[RunningRequest], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._describe = describe
        self._on_end = on_end
        self._on_lost = on_lost
        self._encoder = FrameEncoder()
        self._answers: deque[Answer] = deque()
        self._news: deque[RunningRequest] = deque()
        self._signal: SimpleQueue[None] = SimpleQueue()
        self._is_signalled = False
        self._closing = False
        self._thread = threading.Thread(target=self._main, name="realm-answers", daemon=True)
        self._thread.start()

    def send(self, answer: Answer) -> None:
        """Any thread: an answer that belongs to no running generation, or that ends one early."""
        self._answers.append(answer)
        self._wake()

    def note(self, request: RunningRequest) -> None:
        """Any thread: there may be something to take from the request. Neither waits nor raises."""
        self._news.append(request)
        self._wake()

    def close(self) -> None:
        """Sends what there is to send, then ends the thread."""
        self._closing = True
        self._wake()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _wake(self) -> None:
        # What was left before this look is seen by the thread, which clears the mark first.
        if not self._is_signalled:
            self._is_signalled = True
            self._signal.put(None)

    def _main(self) -> None:
        try:
            while True:
                self._signal.get()
                self._is_signalled = False
                closing = self._closing
                self._write()
                if closing:
                    return
        except OSError:
            self._on_lost()
        except Exception:
            _LOGGER.exception("the writer of answers failed")
            self._on_lost()

    def _write(self) -> None:
        """All that there is to send now: pieces first, then the ends that follow on them."""
        unsent = bytearray()
        while self._answers:
            unsent += self._encode(self._answers.popleft())
        together: list[Piece] = []
        size = 0
        ended: list[RunningRequest] = []
        for _ in range(len(self._news)):
            request = self._news.popleft()
            # Marked before the look: either this sees `pending`, or who sets it sees the mark.
            request.was_looked_at = True
            if request.pending is None or request.is_told:
                continue
            piece = request.take()
            if piece is not None:
                together.append(piece)
                size += len(piece.text) + len(piece.token_ids) * 16
                if size > _MOST_TOGETHER:
                    unsent += self._encode_pieces(together)
                    together, size = [], 0
                if len(unsent) > _MOST_UNSENT:
                    self._connection.sendall(unsent)
                    unsent = bytearray()
            if request.pending.is_over:
                request.is_told = True
                ended.append(request)
        if together:
            unsent += self._encode_pieces(together)
        for request in ended:
            unsent += self._encode(self._end_of(request))
            self._on_end(request)
        if unsent:
            self._connection.sendall(unsent)

    def _end_of(self, request: RunningRequest) -> Answer:
        assert request.pending is not None
        assert request.token_texts is not None
        try:
            return wire_result(request.number, request.pending.result(), request.token_texts)
        except RealmError as error:
            return failure_message(request.number, error, self._describe(error))
        except Exception as error:
            _LOGGER.exception("a result could not be put into words")
            return failure_message(request.number, ServerError(type(error).__name__))

    def _encode(self, answer: Answer) -> bytearray:
        try:
            return self._encoder.encode(answer)
        except WireError as error:
            if isinstance(answer, Pieces | Failed):
                raise
            _LOGGER.warning("an answer cannot be sent", extra={"kind": type(answer).__name__})
            return self._encoder.encode(failure_message(answer.number, error))

    def _encode_pieces(self, pieces: list[Piece]) -> bytearray:
        try:
            return self._encoder.encode(Pieces(pieces))
        except WireError as error:
            # One of them has no form: the others must not pay for it.
            frames = bytearray()
            for piece in pieces:
                try:
                    frames += self._encoder.encode(Pieces([piece]))
                except WireError:
                    _LOGGER.warning("a piece cannot be sent", extra={"request": piece.number})
                    frames += self._encoder.encode(failure_message(piece.number, host_fault(error)))
            return frames
