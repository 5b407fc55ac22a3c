"""What stands around all that the engine does for a client: a quota, metrics, a span, a line of the
log.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from realm.errors import RealmError
from realm.server.definitions import Tenant
from realm.server.front.services import Services

_LOGGER = logging.getLogger("realm.server.requests")
_Begun = TypeVar("_Begun")


class ServedRequest:
    """Use: `begin`, and when that did not raise, `end` once, however it ends."""

    def __init__(
        self,
        services: Services,
        tenant: Tenant,
        kind: str,
        *,
        model: str,
        route: str,
        request_id: str,
    ) -> None:
        """kind: "generation" or "embedding", for the log. route: one of few, for the metrics."""
        self.started = services.now()
        self._services = services
        self._tenant = tenant
        self._kind = kind
        self._model = model
        self._route = route
        self._request_id = request_id

    def begin(self, action: Callable[[], _Begun]) -> _Begun:
        """What the action gives, once the tenant may. Raises RateLimitError,
        EngineUnavailableError, and what the action does; then nothing has begun."""
        services, tenant_id = self._services, self._tenant.tenant_id
        self.started = services.now()
        named = {"realm.tenant": tenant_id, "realm.model": self._model}
        try:
            self._ticket = services.admission.admit(self._tenant)
            try:
                self._span = services.tracing.start(
                    self._kind, {**named, "realm.route": self._route}
                )
                begun = action()
            except BaseException:
                self._ticket.close(0)
                raise
        except RealmError as error:
            services.metrics.generation_refused(tenant_id, type(error).__name__)
            raise
        services.metrics.generation_started(tenant_id)
        return begun

    def end(
        self,
        outcome: str,
        prompt_tokens: int,
        completion_tokens: int,
        *,
        debited_tokens: int | None = None,
        error: str | None = None,
        first_piece: float | None = None,
    ) -> None:
        """outcome: a finish reason, "cancelled", or the name of an error's class. debited_tokens:
        of the quota; None for those of prompt and completion. error: the name of an error's class.
        first_piece: when it came."""
        if debited_tokens is None:
            debited_tokens = prompt_tokens + completion_tokens
        self._ticket.close(debited_tokens)
        services, tenant_id = self._services, self._tenant.tenant_id
        seconds = services.now() - self.started
        services.metrics.generation_ended(
            tenant_id, self._route, outcome, seconds, prompt_tokens, completion_tokens
        )
        self._span.set("realm.outcome", outcome)
        self._span.set("realm.prompt_tokens", prompt_tokens)
        self._span.set("realm.completion_tokens", completion_tokens)
        self._span.end(error)
        first_token_seconds = None
        if first_piece is not None:
            first_token_seconds = round(first_piece - self.started, 6)
        _LOGGER.info(
            self._kind,
            extra={
                "request_id": self._request_id,
                "tenant": tenant_id,
                "route": self._route,
                "model": self._model,
                "outcome": outcome,
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "seconds": round(seconds, 6),
                "first_token_seconds": first_token_seconds,
            },
        )
