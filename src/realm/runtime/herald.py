"""Tells clients that output has come, while the engine's thread is already in its next step.

Waking a thread costs the one that does it as much as a program's whole turn; many at once are left
to a thread of their own, which runs as soon as the step lets other threads run.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Herald:
    """`tell` and `send` belong to the engine thread; `close` to any other."""

    def __init__(self) -> None:
        self._untold: list[Callable[[], None]] = []
        self._errands: SimpleQueue[list[Callable[[], None]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def tell(self, wake: Callable[[], None]) -> None:
        """`wake`, which never raises, will be called soon after the next `send`."""
        self._untold.append(wake)

    def send(self) -> None:
        """Off with what there is to tell; one alone is told here and now."""
        if not self._untold:
            return
        if len(self._untold) == 1:
            self._untold.pop()()
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name="realm-herald", daemon=True)
            self._thread.start()
        self._errands.put(self._untold)
        self._untold = []

    def close(self) -> None:
        """Tells the rest, then ends the thread."""
        self._errands.put(self._untold)
        self._untold = []
        self._errands.put(None)
        if self._thread is None:
            self._main()
        else:
            self._thread.join()

    def _main(self) -> None:
        while (wakes := self._errands.get()) is not None:
            for wake in wakes:
                wake()
