"""Long loops of a thread beside which others work: Python's lock is let go every now and then.

A thread that waits for the lock gets it only after `sys.getswitchinterval()`, 5 ms, when its holder
goes on and on; a step of the engine would be late by that. Nothing is computed here.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_TURN_SECONDS = 0.0004
# Long enough for the thread that waits to wake up: who only lets go takes the lock again at once.
_PAUSE_SECONDS = 0.00002


def in_turns(items: Iterable[Item]) -> Iterator[Item]:
    """The items, one by one; between them, when its turn has been long enough, a pause."""
    end = time.perf_counter() + _TURN_SECONDS
    for item in items:
        yield item
        if time.perf_counter() > end:
            time.sleep(_PAUSE_SECONDS)
            end = time.perf_counter() + _TURN_SECONDS
