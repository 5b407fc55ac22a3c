"""The caller's end of a streamed request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING

from realm.errors import RequestError
from realm.session import Piece

if TYPE_CHECKING:
    from realm.runtime.delivery import Delivery
    from realm.runtime.result import GenerationResult


class TokenStream(Iterator[Piece]):
    """Pieces of text as they come. For one thread.

    Iterating raises the request's error when it fails. Closing it, leaving its `with` block, or
    dropping it cancels the request; `result` is there once it has ended or was closed.
    """

    def __init__(self, delivery: Delivery, cancel: Callable[[], None]) -> None:
        self._delivery = delivery
        self._cancel = cancel
        self._at_end = False

    def __next__(self) -> Piece:
        if self._at_end:
            raise StopIteration
        try:
            piece = self._delivery.take()
        except BaseException:
            self._at_end = True
            raise
        if piece is None:
            self._at_end = True
            raise StopIteration
        return piece

    def __enter__(self) -> TokenStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._at_end:
            self._cancel()

    @property
    def result(self) -> GenerationResult:
        """The whole generation. Raises the request's error, RequestError while it still runs."""
        if not self._at_end:
            raise RequestError("the stream has not ended; read it to its end or close it")
        return self._delivery.wait()

    def close(self) -> None:
        """Cancels what still runs and returns when the engine has let go of it."""
        if not self._at_end:
            self._at_end = True
            self._cancel()
            self._delivery.wait_for_end()
