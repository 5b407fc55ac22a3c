"""Who may generate now: quotas of each tenant, and a bounded number of generations in all.

Pure bookkeeping on the event loop's thread, on a clock that is passed in; it holds something only
of tenants that generate, did so lately, or have used part of a quota.

While half of the whole server's places are free, whoever asks gets one. From then on nobody gets
more than an equal share of seven eighths of them, where those count who generate or asked within
the last seconds; the last eighth is room for tenants that come new, until the others' shares have
shrunk.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from realm.errors import EngineUnavailableError, RateLimitError
from realm.server.definitions import Tenant
from realm.server.front.token_bucket import TokenBucket
from realm.server.settings import Settings

_INTEREST_SECONDS = 5.0
_SWEEP_SECONDS = 30.0
_RESERVE_PARTS = 8
_SHORTEST_WAIT, _LONGEST_WAIT = 0.1, 30.0
_MEMORY = 0.1  # weight of the newest generation in the mean of their durations


class Ticket:
    """The right to one generation; closed however it ends."""

    __slots__ = ("_admission", "_is_closed", "_started", "_tenant_id")

    def __init__(self, admission: Admission, tenant_id: str, started: float) -> None:
        self._admission = admission
        self._tenant_id = tenant_id
        self._started = started
        self._is_closed = False

    def close(self, tokens_used: int) -> None:
        """The generation is over, and used so many tokens. Safe to repeat."""
        if not self._is_closed:
            self._is_closed = True
            self._admission.end(self._tenant_id, self._started, tokens_used)


class _State:
    """What is known of one tenant."""

    __slots__ = ("requests", "running", "tokens")

    def __init__(self) -> None:
        self.running = 0
        self.requests: TokenBucket | None = None
        self.tokens: TokenBucket | None = None

    def is_idle(self, now: float) -> bool:
        """Whether a new one would be the same."""
        buckets = (self.requests, self.tokens)
        return not self.running and all(each is None or each.is_full(now) for each in buckets)


class Admission:
    """Use: `ticket = admission.admit(tenant)`, then `ticket.close(tokens)`."""

    def __init__(self, settings: Settings, now: Callable[[], float]) -> None:
        """now: seconds, monotonic."""
        self._defaults = settings.limits
        self._capacity = settings.max_requests
        self._now = now
        self._states: dict[str, _State] = {}
        self._interested: OrderedDict[str, float] = OrderedDict()
        """Tenants that generate nothing, by when they last did or wanted to."""
        self._running = 0
        self._running_tenants = 0
        self._mean_seconds = 1.0
        self._next_sweep = now() + _SWEEP_SECONDS

    @property
    def running(self) -> int:
        """Generations now."""
        return self._running

    @property
    def known_tenants(self) -> int:
        """Of how many tenants something is held."""
        return len(self._states.keys() | self._interested.keys())

    def running_of(self, tenant_id: str) -> int:
        """The tenant's generations now."""
        state = self._states.get(tenant_id)
        return 0 if state is None else state.running

    def admit(self, tenant: Tenant) -> Ticket:
        """Raises RateLimitError when the tenant must wait, EngineUnavailableError when all must;
        then nothing was debited."""
        now = self._now()
        if now >= self._next_sweep:
            self._sweep(now)
        state = self._states.get(tenant.tenant_id) or _State()
        self._follow_limits(tenant, state, now)
        try:
            self._check_quotas(tenant, state, now)
            self._check_places(tenant.tenant_id, state, now)
        finally:
            if not state.is_idle(now):
                self._states[tenant.tenant_id] = state
        if state.requests is not None:
            state.requests.take(1, now)
        self._states[tenant.tenant_id] = state
        if state.running == 0:
            self._running_tenants += 1
            self._interested.pop(tenant.tenant_id, None)
        state.running += 1
        self._running += 1
        return Ticket(self, tenant.tenant_id, now)

    def end(self, tenant_id: str, started: float, tokens_used: int) -> None:
        """For Ticket: a generation that began then has ended."""
        now = self._now()
        state = self._states[tenant_id]
        state.running -= 1
        self._running -= 1
        self._mean_seconds += _MEMORY * (max(now - started, 0.0) - self._mean_seconds)
        if state.tokens is not None:
            state.tokens.take(tokens_used, now)
        if state.running == 0:
            self._running_tenants -= 1
            self._note_interest(tenant_id, now)
            if state.is_idle(now):
                del self._states[tenant_id]

    def _follow_limits(self, tenant: Tenant, state: _State, now: float) -> None:
        limits, defaults = tenant.limits, self._defaults
        requests = limits.requests_per_minute or defaults.requests_per_minute
        tokens = limits.tokens_per_minute or defaults.tokens_per_minute
        state.requests = _bucket(state.requests, requests, now)
        state.tokens = _bucket(state.tokens, tokens, now)

    def _check_quotas(self, tenant: Tenant, state: _State, now: float) -> None:
        most = tenant.limits.concurrent_requests or self._defaults.concurrent_requests
        if most is not None and state.running >= most:
            text = f"{state.running} requests are running, and {most} may at once"
            raise RateLimitError(text, self._wait(state.running))
        for bucket, what in ((state.requests, "requests"), (state.tokens, "tokens")):
            wait = 0.0 if bucket is None else bucket.wait_seconds(now)
            if wait > 0.0:
                raise RateLimitError(f"all {what} of this minute are used", wait)

    def _check_places(self, tenant_id: str, state: _State, now: float) -> None:
        """Whether the server has a place for one more of the tenant."""
        if not state.running:
            self._note_interest(tenant_id, now)
        reserve = self._capacity // _RESERVE_PARTS
        share = max((self._capacity - reserve) // self._wanting(now), 1)
        if self._running >= self._capacity:
            raise EngineUnavailableError("the server is busy", self._wait(self._running))
        if self._running >= self._capacity // 2 and state.running >= share:
            text = f"the server is busy, and {state.running} requests are this tenant's share of it"
            raise RateLimitError(text, self._wait(state.running))

    def _wanting(self, now: float) -> int:
        """How many tenants generate or lately wanted to; at least 1."""
        while self._interested:
            tenant_id, since = next(iter(self._interested.items()))
            if now - since <= _INTEREST_SECONDS:
                break
            del self._interested[tenant_id]
        return max(self._running_tenants + len(self._interested), 1)

    def _note_interest(self, tenant_id: str, now: float) -> None:
        self._interested[tenant_id] = now
        self._interested.move_to_end(tenant_id)

    def _wait(self, running: int) -> float:
        """A guess: until one of so many generations has ended. Seconds."""
        return min(max(self._mean_seconds / max(running, 1), _SHORTEST_WAIT), _LONGEST_WAIT)

    def _sweep(self, now: float) -> None:
        self._next_sweep = now + _SWEEP_SECONDS
        self._wanting(now)
        for tenant_id in [name for name, state in self._states.items() if state.is_idle(now)]:
            del self._states[tenant_id]


def _bucket(present: TokenBucket | None, per_minute: int | None, now: float) -> TokenBucket | None:
    """The bucket at the rate that is in force now."""
    if per_minute is None:
        return None
    if present is None:
        return TokenBucket(per_minute, now)
    present.set_rate(per_minute, now)
    return present
