"""Pipelines over HTTP: which there are, what one takes, and running it."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from realm.server.front.access import tenant_route
from realm.server.front.disconnect import unless_gone
from realm.server.front.identity import Identity
from realm.server.front.openai.bodies import read_body
from realm.server.front.pipeline_steps import run_for
from realm.server.front.request_id import request_id_of
from realm.server.front.services import Services

_HEADERS = {"cache-control": "no-store"}


class RunBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """input: an object, or the one value that the pipeline needs."""

    input: Any = {}


_BODY = msgspec.json.Decoder(RunBody)


def routes(services: Services) -> list[BaseRoute]:
    """Under /v1/pipelines."""

    async def list_all(request: Request, identity: Identity) -> Response:
        del request, identity
        return _answer(
            {"object": "list", "data": [each.document() for each in services.pipelines.list()]}
        )

    async def show(request: Request, identity: Identity) -> Response:
        """Raises PipelineNotFoundError."""
        del identity
        return _answer(services.pipelines.get(request.path_params["pipeline_id"]).document())

    async def run(request: Request, identity: Identity) -> Response:
        """Raises what `read_body` and `run_for` do."""
        assert identity.tenant is not None
        pipeline_id = request.path_params["pipeline_id"]
        services.pipelines.get(pipeline_id)
        body = await read_body(request, _BODY)
        request_id = request_id_of(request)
        work = run_for(services, identity.tenant, pipeline_id, body.input, request_id)
        result = await unless_gone(request.receive, work)
        return _answer(result.document())

    path = "/v1/pipelines"
    return [
        tenant_route(path, list_all, services=services),
        tenant_route(f"{path}/{{pipeline_id}}", show, services=services),
        tenant_route(f"{path}/{{pipeline_id}}/run", run, services=services, methods=("POST",)),
    ]


def _answer(document: dict[str, Any]) -> Response:
    content = msgspec.json.encode(document)
    return Response(content, media_type="application/json", headers=_HEADERS)
