"""Host functions that leave something to a worker thread while their guest is parked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from realm.runtime.contract import ErrorCode
from realm.runtime.guest_state import GuestState
from realm.runtime.host_call import Answer, HostCallError, WaitForWork
from realm.runtime.workers import Workers

T = TypeVar("T")

# Texts up to this length are worked through at once: less than two milliseconds.
_SHORT_BYTES = 8 << 10


def by_length(
    state: GuestState, length: int, action: Callable[[], T], complete: Callable[[T], Answer]
) -> Answer:
    """`complete` of what `action` makes of a text of so many bytes; a worker does a long one."""
    if length <= _SHORT_BYTES:
        return complete(action())
    surroundings = state.surroundings
    seconds: list[float] = []

    def timed() -> T:
        started = surroundings.now()
        try:
            return action()
        finally:
            seconds.append(surroundings.now() - started)

    def charged(result: T) -> Answer:
        turns = surroundings.services.account.turns
        turns.charge(seconds[0], surroundings.now())  # it took a core from everyone
        return complete(result)

    return in_background(state, timed, charged)


def in_background(
    state: GuestState,
    action: Callable[[], T],
    complete: Callable[[T], Answer],
    *,
    workers: Workers | None = None,
    seconds: float | None = None,
    discard: Callable[[T], None] | None = None,
    share: int | None = None,
) -> Answer:
    """`complete` gets what `action` returns, on the engine thread; the guest waits meanwhile.

    action: must touch neither guest nor engine. seconds: after which the guest goes on with
    REALM_E_TIME. discard: what becomes of a result that came too late. share: as in `submit`.
    """
    surroundings = state.surroundings
    if workers is None:
        workers = surroundings.services.workers
    deadline = None if seconds is None else surroundings.now() + seconds
    owner = surroundings.tenant_id
    work = state.work = workers.submit(owner, action, surroundings.wake, discard, share)

    def look() -> Answer:
        if work.is_done:
            state.work = None
            return complete(work.take())
        if deadline is not None and surroundings.now() >= deadline:
            state.work = None
            work.abandon()
            raise HostCallError(ErrorCode.TIME, f"not done within {seconds} seconds")
        return WaitForWork(look, deadline)

    return look()
