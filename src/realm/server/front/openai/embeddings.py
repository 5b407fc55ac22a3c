"""POST /v1/embeddings: the mean of a text's last hidden states, as the engine computes it."""

from __future__ import annotations

import base64
import struct

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from realm.errors import FieldError
from realm.server.front.disconnect import unless_gone
from realm.server.front.identity import Identity
from realm.server.front.openai.answers import (
    Embedding,
    EmbeddingList,
    EmbeddingUsage,
    json_response,
)
from realm.server.front.openai.bodies import read_body
from realm.server.front.openai.prompts import prompts_of
from realm.server.front.openai.requests import EmbeddingRequest
from realm.server.front.services import Services

_MOST_INPUTS = 2048
_POOLING = "mean"
_FLOAT_BYTES = 4


class EmbeddingHandlers:
    """The handler of the route."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._decoder = msgspec.json.Decoder(EmbeddingRequest)

    async def embed(self, request: Request, identity: Identity) -> Response:
        """Raises what `failures` tells clients."""
        body = await read_body(request, self._decoder)
        tenant = identity.tenant
        assert tenant is not None
        if body.dimensions is not None:
            raise FieldError("dimensions: is not offered", "dimensions")
        inputs = prompts_of(body.input, "input")
        if len(inputs) > _MOST_INPUTS:
            raise FieldError(f"input: more than {_MOST_INPUTS}", "input")
        choice = self._services.directory.resolve_model(tenant, body.model)
        if choice.adapter is not None:
            raise FieldError("model: embeddings have no adapters", "model")
        ticket = self._services.admission.admit(tenant)
        tokens = 0
        try:
            work = self._services.engine.embed(
                tenant.tenant_id, choice.model.name, inputs, _POOLING
            )
            embedded = await unless_gone(request.receive, work)
            tokens = sum(embedded.token_counts)
        finally:
            ticket.close(tokens)
        vectors = [
            Embedding(
                "embedding", place, _vector(embedded.vectors, place, embedded.dimension, body)
            )
            for place in range(len(inputs))
        ]
        return json_response(
            EmbeddingList("list", vectors, body.model, EmbeddingUsage(tokens, tokens))
        )


def _vector(
    vectors: bytes, place: int, dimension: int, body: EmbeddingRequest
) -> list[float] | str:
    size = dimension * _FLOAT_BYTES
    row = vectors[place * size : (place + 1) * size]
    if body.encoding_format == "base64":
        return base64.b64encode(row).decode()
    return list(struct.unpack(f"={dimension}f", row))
