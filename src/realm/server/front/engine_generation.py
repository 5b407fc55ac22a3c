"""A generation as a handler has it: its pieces as they come, then its result.

For the event loop's thread. What a handler does not take waits here, as much as the engine has
credit for and no more.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from realm.errors import CancelledError, RealmError
from realm.server.wire.messages import PIECE_CREDIT, Finished, Piece

_CREDIT_BATCH = PIECE_CREDIT // 4


class GenerationInbox:
    """What has come for one generation; the client puts, the handler's end takes.

    give_credit: tells the engine how many pieces were taken.
    """

    def __init__(self, give_credit: Callable[[int], None]) -> None:
        self.is_dropping = False
        self.finished: Finished | None = None
        self.error: Callable[[], RealmError] | None = None
        self._pieces: deque[Piece] = deque()
        self._give_credit = give_credit
        self._taken = 0
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes."""
        return self.finished is not None or self.error is not None

    def put(self, piece: Piece) -> None:
        """The next piece."""
        if self.is_dropping:
            self._note_taken(1)
            return
        self._pieces.append(piece)
        self._wake()

    def finish(self, finished: Finished) -> None:
        """It has ended well."""
        self.finished = finished
        self._wake()

    def fail(self, error: Callable[[], RealmError]) -> None:
        """It has ended in the error that `error` makes, unless it has ended already."""
        if not self.has_ended:
            self.error = error
            self._wake()

    def take(self) -> Piece | None:
        """The next piece that is there."""
        if not self._pieces:
            return None
        piece = self._pieces.popleft()
        self._note_taken(1)
        return piece

    def drop_pieces(self) -> None:
        """Nobody takes pieces any more; the engine is not held up."""
        self.is_dropping = True
        count = len(self._pieces)
        self._pieces.clear()
        self._note_taken(count)

    async def changed(self) -> None:
        """Returns when something more has come; at once, perhaps, when nothing has."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _note_taken(self, count: int) -> None:
        self._taken += count
        if self._taken >= _CREDIT_BATCH and not self.has_ended:
            taken, self._taken = self._taken, 0
            self._give_credit(taken)


class EngineGeneration:
    """See `realm.server.front.engine_port.Generation`. cancel: tells the engine; any thread.

    When it is let go of before its end, it is cancelled.
    """

    def __init__(self, inbox: GenerationInbox, cancel: Callable[[], None]) -> None:
        self._inbox = inbox
        self._cancel = cancel

    def __aiter__(self) -> AsyncIterator[Piece]:
        """Itself: what was taken once does not come again."""
        return self

    async def __anext__(self) -> Piece:
        """The next piece. Raises the generation's error once all pieces before it are taken."""
        inbox = self._inbox
        while True:
            piece = inbox.take()
            if piece is not None:
                return piece
            if inbox.error is not None:
                raise inbox.error()
            if inbox.finished is not None:
                raise StopAsyncIteration
            await inbox.changed()

    async def result(self) -> Finished:
        """See `Generation`."""
        inbox = self._inbox
        inbox.drop_pieces()
        while not inbox.has_ended:
            await inbox.changed()
        if inbox.error is not None:
            raise inbox.error()
        assert inbox.finished is not None
        return inbox.finished

    def cancel(self) -> None:
        """See `Generation`. Whoever waits for it gets a CancelledError."""
        if not self._inbox.has_ended:
            self._inbox.fail(_cancelled)
            self._inbox.drop_pieces()
            self._cancel()

    def __del__(self) -> None:
        if not self._inbox.has_ended:
            self._cancel()


def _cancelled() -> RealmError:
    return CancelledError("the request was cancelled")


def failed_generation(error: Callable[[], RealmError]) -> EngineGeneration:
    """One that never came to the engine."""
    inbox = GenerationInbox(lambda _: None)
    inbox.fail(error)
    return EngineGeneration(inbox, lambda: None)
