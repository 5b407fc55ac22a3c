"""Vectors for a client: admitted, measured and let go of as generations are."""

from __future__ import annotations

from collections.abc import Sequence

from realm.errors import CancelledError, RealmError
from realm.server.definitions import Tenant
from realm.server.front.served_request import ServedRequest
from realm.server.front.services import Services
from realm.server.wire.messages import Embedded

_POOLING = "mean"


async def served_embedding(
    services: Services,
    tenant: Tenant,
    model: str,
    inputs: Sequence[str | list[int]],
    *,
    route: str,
    request_id: str,
) -> Embedded:
    """model: its name, which the tenant may use. route, request_id: as for ServedGeneration.

    Cancelling the caller's task cancels it in the engine. Raises RateLimitError,
    EngineUnavailableError, and the engine's error.
    """
    served = ServedRequest(
        services, tenant, "embedding", model=model, route=route, request_id=request_id
    )
    served.begin(lambda: None)
    outcome, tokens, failure = "cancelled", 0, None
    try:
        embedded = await services.engine.embed(tenant.tenant_id, model, inputs, _POOLING)
        outcome, tokens = "stop", sum(embedded.token_counts)
    except RealmError as error:
        failure = type(error).__name__
        if not isinstance(error, CancelledError):
            outcome = failure
        raise
    finally:
        served.end(outcome, tokens, 0, error=failure)
    return embedded
