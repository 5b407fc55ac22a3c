"""What one tenant's guests hold and have used, over all of its requests.

Written on the engine thread alone; any thread may read a snapshot. Reads no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from realm.engine import SpeculationMetrics
from realm.errors import CancelledError, GuestLimitError, GuestTrapError, RealmError
from realm.runtime.contract import ErrorCode
from realm.runtime.host_call import HostCallError
from realm.runtime.limits import TenantLimits
from realm.runtime.result import GenerationResult
from realm.runtime.turn_budget import TurnBudget


@dataclass(frozen=True, slots=True)
class TenantMetrics:
    """One tenant's figures since it was first seen.

    requests: that have ended, with those that failed, of these those whose program trapped or
    reached a limit, and those that were cancelled. guest_seconds: programs and their host calls.
    live_guests, queued_requests, memory_bytes, cache_bytes, model_bytes: now. speculation: what
    became of its drafts.
    """

    requests: int = 0
    failures: int = 0
    traps: int = 0
    limits_reached: int = 0
    cancelled: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    guest_seconds: float = 0.0
    live_guests: int = 0
    queued_requests: int = 0
    memory_bytes: int = 0
    cache_bytes: int = 0
    cache_pages: int = 0
    model_bytes: int = 0
    speculation: SpeculationMetrics = field(default_factory=SpeculationMetrics)


class TenantAccount:
    """The counters of one tenant, and its limits as they stand.

    is_removed: no request of the tenant begins any more; set once, by any thread.
    """

    def __init__(self, tenant_id: str, limits: TenantLimits) -> None:
        self.tenant_id = tenant_id
        self.limits = limits
        self.is_removed = False
        self.turns = TurnBudget()
        self.requests = 0
        self.failures = 0
        self.traps = 0
        self.limits_reached = 0
        self.cancelled = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.guest_seconds = 0.0
        self.live_guests = 0
        self.queued_requests = 0
        self.memory_bytes = 0
        self.cache_bytes = 0
        self.cache_pages = 0
        self.model_bytes = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing of the tenant runs, waits or is held."""
        return not (self.live_guests or self.queued_requests or self.cache_pages)

    def take_memory(self, count: int) -> None:
        """Linear memory of a guest, negative when it goes. Raises GuestLimitError when it grew."""
        self.memory_bytes += count
        if count > 0 and self.memory_bytes > self.limits.memory_bytes:
            raise GuestLimitError(
                "the program reached its limit: its tenant's programs have more than "
                f"{self.limits.memory_bytes} bytes of memory together"
            )

    def take_pages(self, count: int, page_bytes: int) -> None:
        """Cache pages, negative when they are given back. Raises HostCallError(CAPACITY)."""
        more = self.cache_bytes + count * page_bytes
        if count > 0 and more > self.limits.cache_bytes:
            raise HostCallError(
                ErrorCode.CAPACITY,
                f"more than {self.limits.cache_bytes} bytes of cache pages for this tenant",
            )
        self.cache_bytes = more
        self.cache_pages += count

    def take_model_bytes(self, count: int) -> None:
        """Bytes of stored models, negative when they go. Raises HostCallError(LIMIT)."""
        if count > 0 and self.model_bytes + count > self.limits.model_bytes:
            raise HostCallError(
                ErrorCode.LIMIT,
                f"more than {self.limits.model_bytes} bytes of stored models for this tenant",
            )
        self.model_bytes += count

    def note_result(self, result: GenerationResult, guest_seconds: float) -> None:
        """A request has ended well, or was cancelled by its client."""
        self.requests += 1
        self.cancelled += result.finish_reason == "cancelled"
        self.prompt_tokens += len(result.prompt_token_ids)
        self.completion_tokens += len(result.token_ids)
        self.guest_seconds += guest_seconds

    def note_failure(self, error: RealmError, guest_seconds: float) -> None:
        """A request has failed."""
        self.requests += 1
        self.guest_seconds += guest_seconds
        if isinstance(error, CancelledError):
            self.cancelled += 1
            return
        self.failures += 1
        self.traps += isinstance(error, GuestTrapError)
        self.limits_reached += isinstance(error, GuestLimitError)
        if isinstance(error, (GuestTrapError, GuestLimitError)):
            self.turns.charge_failure()

    def metrics(self, speculation: SpeculationMetrics) -> TenantMetrics:
        """A snapshot. speculation: what the engine knows of the tenant's drafts."""
        figures = {name: getattr(self, name) for name in _FIGURES}
        return TenantMetrics(speculation=speculation, **figures)


_FIGURES = [each.name for each in fields(TenantMetrics) if each.name != "speculation"]
