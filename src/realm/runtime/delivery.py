"""The way of one request's output from the engine thread to the caller's thread.

Bounded: when the caller does not take its pieces, the engine is told so and the request waits;
nothing is dropped and nothing grows.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from realm.errors import RealmError
from realm.runtime.result import GenerationResult
from realm.session import Piece


class Delivery:
    """One producer (the engine thread), one request, any consumer.

    capacity: pieces that wait at most; None keeps none, for a caller who wants only the result.
    on_room: called, on the consumer's thread, when a producer that found no room may go on.
    tell: called, on the producer's, with what wakes a consumer that may wait for a piece; whoever
    takes it calls that soon, on any thread.
    on_news: for a consumer that waits nowhere: called instead when there is a first piece, through
    `tell`, and at the end, at once, on the producer's thread.
    """

    def __init__(
        self,
        capacity: int | None,
        on_room: Callable[[], None],
        tell: Callable[[Callable[[], None]], None],
        on_news: Callable[[], None] | None = None,
    ) -> None:
        self._capacity = capacity
        self._on_room = on_room
        self._tell = tell
        self._on_news = on_news
        self._changed = threading.Condition()
        self._pieces: deque[Piece] = deque()
        self._refused = False
        self._result: GenerationResult | None = None
        self._error: RealmError | None = None

    def offer(self, piece: Piece) -> bool:
        """Producer: False when there is no room; `on_room` follows later."""
        if self._capacity is None:
            return True
        with self._changed:
            if len(self._pieces) >= self._capacity:
                self._refused = True
                return False
            self._pieces.append(piece)
            waits = len(self._pieces) == 1  # with more there, a consumer does not, or has been told
        if waits:
            self._tell(self._on_news or self._wake)
        return True

    def has_room(self) -> bool:
        """Producer: whether the next `offer` will be taken."""
        return self._capacity is None or len(self._pieces) < self._capacity

    def finish(self, result: GenerationResult) -> None:
        """Producer: the request has ended."""
        with self._changed:
            self._result = result
            self._changed.notify_all()
        self._tell_end()

    def fail(self, error: RealmError) -> None:
        """Producer: the request has failed; what was offered before stays readable."""
        with self._changed:
            self._error = error
            self._changed.notify_all()
        self._tell_end()

    def take(self) -> Piece | None:
        """Consumer: the next piece, waiting for it; None at the end. Raises the request's error."""
        with self._changed:
            self._changed.wait_for(lambda: self._pieces or self._ended)
            if not self._pieces:
                if self._error is not None:
                    raise self._error
                return None
            piece = self._pieces.popleft()
            has_room = self._refused
            self._refused = False
        if has_room:
            self._on_room()
        return piece

    def take_some(self, most: int) -> tuple[list[Piece], bool]:
        """Consumer: the next pieces without waiting, and whether nothing comes after them."""
        with self._changed:
            pieces = [self._pieces.popleft() for _ in range(min(most, len(self._pieces)))]
            is_last = self._ended and not self._pieces
            has_room = self._refused and bool(pieces)
            if has_room:
                self._refused = False
        if has_room:
            self._on_room()
        return pieces, is_last

    def wait(self) -> GenerationResult:
        """Consumer: the result, waiting for it. Raises the request's error."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended)
            if self._error is not None:
                raise self._error
            assert self._result is not None
            return self._result

    def wait_for_end(self) -> None:
        """Consumer: returns when the request has ended, in whatever way."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended)

    def _tell_end(self) -> None:
        if self._on_news is not None:
            self._on_news()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    @property
    def _ended(self) -> bool:
        return self._result is not None or self._error is not None
