"""What the engine is asked for a client of the WebSocket protocol or a step of a pipeline: which
model, which adapter, how many tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from realm.errors import FieldError, ModelNotFoundError
from realm.server.definitions import Tenant
from realm.server.front.engine_port import GenerateCall
from realm.server.front.services import Services
from realm.server.text_options import DEFAULT_MAX_TOKENS, TextOptions


def text_call(
    services: Services,
    tenant: Tenant,
    *,
    model: str | None,
    options: TextOptions,
    prompt: str | None = None,
    messages: Sequence[dict[str, Any]] | None = None,
    wants_pieces: bool = False,
    wants_logprobs: bool = False,
) -> GenerateCall:
    """model: `model` or `model:adapter`; None for the tenant's first.

    Raises ModelNotFoundError and AdapterNotFoundError for what the tenant may not use, FieldError
    for an adapter that is named twice.
    """
    choice = services.directory.resolve_model(tenant, model or models_of(services, tenant)[0])
    name, adapter = choice.model.name, choice.adapter
    if options.adapter is not None:
        if adapter is not None:
            raise FieldError("adapter: the model names an adapter too", "adapter")
        adapter = services.directory.resolve_model(tenant, f"{name}:{options.adapter}").adapter
    keywords = options.keywords(_token_count(services, tenant, options.max_tokens))
    if wants_logprobs:
        keywords["logprobs"] = 0
    return GenerateCall(
        tenant.tenant_id,
        name,
        prompt=prompt,
        messages=messages,
        adapters=None if adapter is None else [(adapter, 1.0)],
        options=keywords,
        wants_pieces=wants_pieces,
    )


def models_of(services: Services, tenant: Tenant) -> list[str]:
    """The names of the models that the tenant may use, the server's first one first; at least
    one. Raises ModelNotFoundError."""
    found = [
        model.name
        for model in services.directory.models
        if tenant.models is None or model.name in tenant.models
    ]
    if not found:
        raise ModelNotFoundError("there is no model that this tenant may use")
    return found


def _token_count(services: Services, tenant: Tenant, asked: int | None) -> int:
    most = tenant.limits.max_tokens or services.settings.limits.max_tokens
    count = asked or DEFAULT_MAX_TOKENS
    return count if most is None else min(count, most)
