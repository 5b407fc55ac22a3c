"""POST /v1/embeddings: the mean of a text's last hidden states, as the engine computes it."""

from __future__ import annotations

import asyncio
import base64
import struct
from typing import cast

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
from realm.server.front.request_id import request_id_of
from realm.server.front.served_embedding import served_embedding
from realm.server.front.services import Services
from realm.server.wire.messages import Embedded

EMBEDDING_PATH = "/v1/embeddings"
_MOST_INPUTS = 2048
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
        work = served_embedding(
            self._services,
            tenant,
            choice.model.name,
            inputs,
            route=EMBEDDING_PATH,
            request_id=request_id_of(request),
        )
        embedded = await unless_gone(request.receive, work)
        # Millions of numbers take a while, and the event loop streams tokens meanwhile.
        return await asyncio.to_thread(_answer, embedded, body)


def _answer(embedded: Embedded, body: EmbeddingRequest) -> Response:
    size = embedded.dimension * _FLOAT_BYTES
    rows = [
        embedded.vectors[begin : begin + size] for begin in range(0, len(embedded.vectors), size)
    ]
    # Row by row, so that no row keeps Python's lock from others for long.
    vectors = [
        msgspec.Raw(msgspec.json.encode(Embedding("embedding", place, _vector(row, body))))
        for place, row in enumerate(rows)
    ]
    tokens = sum(embedded.token_counts)
    usage = EmbeddingUsage(tokens, tokens)
    encoded = cast("list[Embedding]", vectors)
    return json_response(EmbeddingList("list", encoded, body.model, usage))


def _vector(row: bytes, body: EmbeddingRequest) -> list[float] | str:
    if body.encoding_format == "base64":
        return base64.b64encode(row).decode()
    return list(struct.unpack(f"={len(row) // _FLOAT_BYTES}f", row))
