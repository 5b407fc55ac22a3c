"""One generation for a client: admitted, measured, and let go of however it ends.

HTTP, WebSocket and pipelines all generate through here, so that no route leaves out a quota, a
metric, a line of the log or a cancellation.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from types import TracebackType

from realm.errors import CancelledError, RealmError
from realm.server.definitions import Tenant
from realm.server.front.engine_port import GenerateCall, Generation
from realm.server.front.services import Services
from realm.server.wire.messages import Finished, Piece

_LOGGER = logging.getLogger("realm.server.requests")


class ServedGeneration:
    """Use: `async with ServedGeneration(...) as generation`, iterate it, or await `result`.

    Entering raises RateLimitError or EngineUnavailableError; leaving cancels what still runs.
    """

    def __init__(
        self, services: Services, tenant: Tenant, call: GenerateCall, *, route: str, request_id: str
    ) -> None:
        """route: one of few, for the metrics. request_id: for the log."""
        self._services = services
        self._tenant = tenant
        self._call = call
        self._route = route
        self._request_id = request_id
        self._generation: Generation | None = None
        self._finished: Finished | None = None
        self._outcome = "cancelled"
        self._started = 0.0
        self._last_piece: float | None = None
        self._first_piece: float | None = None

    async def __aenter__(self) -> ServedGeneration:
        services = self._services
        self._started = services.now()
        tenant_id = self._tenant.tenant_id
        try:
            self._ticket = services.admission.admit(self._tenant)
            try:
                self._generation = services.engine.generate(self._call)
            except BaseException:
                self._ticket.close(0)
                raise
        except RealmError as error:
            services.metrics.generation_refused(tenant_id, type(error).__name__)
            raise
        services.metrics.generation_started(tenant_id)
        named = {"realm.tenant": tenant_id, "realm.model": self._call.model}
        self._span = services.tracing.start("generation", {**named, "realm.route": self._route})
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._generation is not None
        finished = self._finished
        if finished is None:
            self._generation.cancel()
            if isinstance(error, RealmError) and not isinstance(error, CancelledError):
                self._outcome = type(error).__name__
        prompt_tokens = 0 if finished is None else finished.prompt_token_count
        completion_tokens = 0 if finished is None else len(finished.token_ids)
        self._ticket.close(prompt_tokens + completion_tokens)
        services = self._services
        seconds = services.now() - self._started
        tenant_id = self._tenant.tenant_id
        services.metrics.generation_ended(
            tenant_id, self._route, self._outcome, seconds, prompt_tokens, completion_tokens
        )
        self._span.set("realm.outcome", self._outcome)
        self._span.set("realm.prompt_tokens", prompt_tokens)
        self._span.set("realm.completion_tokens", completion_tokens)
        self._span.end(type(error).__name__ if isinstance(error, RealmError) else None)
        _LOGGER.info(
            "generation",
            extra={
                "request_id": self._request_id,
                "tenant": tenant_id,
                "route": self._route,
                "model": self._call.model,
                "outcome": self._outcome,
                "prompt_tokens": prompt_tokens,
                "completion_tokens": completion_tokens,
                "seconds": round(seconds, 6),
                "first_token_seconds": None
                if self._first_piece is None
                else round(self._first_piece - self._started, 6),
            },
        )

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """Pieces as they come. Raises the generation's error."""
        assert self._generation is not None
        async for piece in self._generation:
            self._note_piece()
            yield piece

    async def result(self) -> Finished:
        """The whole, once it has ended. Raises the generation's error."""
        assert self._generation is not None
        if self._finished is None:
            self._finished = await self._generation.result()
            self._outcome = self._finished.finish_reason
        return self._finished

    def _note_piece(self) -> None:
        now = self._services.now()
        metrics, tenant_id = self._services.metrics, self._tenant.tenant_id
        if self._last_piece is None:
            self._first_piece = now
            metrics.first_token(tenant_id, now - self._started)
        else:
            metrics.next_token(tenant_id, now - self._last_piece)
        self._last_piece = now
