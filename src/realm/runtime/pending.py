"""A streamed request whose caller waits nowhere: it is told when there is something to take."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realm.runtime.delivery import Delivery
    from realm.runtime.result import GenerationResult
    from realm.session import Piece


class PendingGeneration:
    """For one thread at a time. Being dropped does not cancel it.

    After `on_news` (see `TenantRuntime.submit`), `take` until it gives less than it may: only then
    does more of it come with news.
    """

    def __init__(self, delivery: Delivery, cancel: Callable[[], None]) -> None:
        self._delivery = delivery
        self._cancel = cancel
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether `take` has found the end; `result` answers from then on."""
        return self._is_over

    def take(self, most: int) -> list[Piece]:
        """The next pieces, `most` at most, oldest first; never waits and never raises."""
        pieces, self._is_over = self._delivery.take_some(most)
        return pieces

    def result(self) -> GenerationResult:
        """The whole generation. Raises the request's error. Waits where it is not over."""
        return self._delivery.wait()

    def cancel(self) -> None:
        """Any thread: the engine lets go of it within one step; the end is told as ever."""
        self._cancel()
