"""One generation for a client: admitted, measured, and let go of however it ends.

HTTP, WebSocket and pipelines all generate through here, so that no route leaves out a quota, a
metric, a line of the log or a cancellation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType

from realm.errors import CancelledError, RealmError
from realm.server.definitions import Tenant
from realm.server.front.engine_port import GenerateCall, Generation
from realm.server.front.served_request import ServedRequest
from realm.server.front.services import Services
from realm.server.wire.messages import Finished, Piece

_CHARACTERS_OF_TOKEN = 4  # of prompts whose tokens nobody counted


class ServedGeneration:
    """Use: `async with ServedGeneration(...) as generation`, iterate it, or await `result`.

    Entering raises RateLimitError or EngineUnavailableError; leaving cancels what still runs. A
    generation that does not end well is debited for the text that it gave, and its prompt with it.
    """

    def __init__(
        self, services: Services, tenant: Tenant, call: GenerateCall, *, route: str, request_id: str
    ) -> None:
        """route: one of few, for the metrics. request_id: for the log."""
        self._services = services
        self._tenant_id = tenant.tenant_id
        self._call = call
        self._served = ServedRequest(
            services, tenant, "generation", model=call.model, route=route, request_id=request_id
        )
        self._generation: Generation | None = None
        self._finished: Finished | None = None
        self._given_tokens = 0
        self._last_piece: float | None = None
        self._first_piece: float | None = None

    async def __aenter__(self) -> ServedGeneration:
        engine = self._services.engine
        self._generation = self._served.begin(lambda: engine.generate(self._call))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._generation is not None
        finished = self._finished
        failure = type(error).__name__ if isinstance(error, RealmError) else None
        if finished is not None:
            self._served.end(
                finished.finish_reason,
                finished.prompt_token_count,
                len(finished.token_ids),
                error=failure,
                first_piece=self._first_piece,
            )
            return
        self._generation.cancel()
        given = self._given_tokens
        self._served.end(
            "cancelled" if failure is None or isinstance(error, CancelledError) else failure,
            0,
            given,
            debited_tokens=given + _prompt_tokens(self._call) if given else 0,
            error=failure,
            first_piece=self._first_piece,
        )

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """Pieces as they come. Raises the generation's error."""
        assert self._generation is not None
        async for piece in self._generation:
            self._note_piece(piece)
            yield piece

    async def result(self) -> Finished:
        """The whole, once it has ended. Raises the generation's error."""
        assert self._generation is not None
        if self._finished is None:
            self._finished = await self._generation.result()
        return self._finished

    def _note_piece(self, piece: Piece) -> None:
        self._given_tokens += len(piece.token_ids)
        now = self._services.now()
        metrics = self._services.metrics
        if self._last_piece is None:
            self._first_piece = now
            metrics.first_token(self._tenant_id, now - self._served.started)
        else:
            metrics.next_token(self._tenant_id, now - self._last_piece)
        self._last_piece = now


def _prompt_tokens(call: GenerateCall) -> int:
    """About how many the prompt has."""
    if call.token_ids is not None:
        return len(call.token_ids)
    texts = [call.prompt or "", *(str(each.get("content")) for each in call.messages or ())]
    return sum(map(len, texts)) // _CHARACTERS_OF_TOKEN
