"""What comes to the engine's thread from others, between two of its turns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from realm.kernels import Interrupt
    from realm.runtime.account import TenantAccount
    from realm.runtime.job import Job


class Letter(NamedTuple):
    """job: the one that has to fail if the action never comes to run."""

    action: Callable[[], object]
    job: Job | None


class Inbox:
    """interrupt: the engine's; set by what comes, so that a call of several steps ends for it.

    now: seconds, monotonic.
    """

    def __init__(self, interrupt: Interrupt, now: Callable[[], float]) -> None:
        self._interrupt = interrupt
        self._now = now
        self._changed = threading.Condition()
        self._letters: list[Letter] = []
        self._is_closed = False

    def post(
        self,
        action: Callable[[], object],
        sender: TenantAccount | None = None,
        job: Job | None = None,
    ) -> bool:
        """Any thread; False, and nothing is kept, once it is closed.

        A sender that has had more than its share of the thread waits for all steps of a call.
        """
        with self._changed:
            if self._is_closed:
                return False
            self._letters.append(Letter(action, job))
            if sender is None or not sender.turns.is_spent(self._now()):
                self._interrupt.set()
            self._changed.notify_all()
            return True

    def close(self) -> None:
        """Any thread: nothing comes any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def take(self, seconds: float | None) -> tuple[list[Letter], bool]:
        """The engine's thread: everything that has come, and whether it is closed.

        seconds: how long it may wait for something to come; None for as long as it takes.
        """
        with self._changed:
            if not self._letters and not self._is_closed and seconds != 0.0:
                self._changed.wait(seconds)
            letters, self._letters = self._letters, []
            self._interrupt.clear()
            return letters, self._is_closed
