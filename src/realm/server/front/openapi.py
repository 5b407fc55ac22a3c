"""The description of the HTTP surface at GET /openapi.json, made of the structs and the routes.

Routes that OpenAI's clients use are described to their last field, the others by their paths,
methods and keys.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from realm.server.front.access import MarkedRoute, open_route
from realm.server.front.health import Health
from realm.server.front.openai.answers import (
    ChatCompletion,
    Completion,
    EmbeddingList,
    ModelCard,
    ModelList,
)
from realm.server.front.openai.requests import ChatRequest, CompletionRequest, EmbeddingRequest

PATH = "/openapi.json"
_SCHEMAS = "#/components/schemas/"
_PARAMETER = re.compile(r"\{([a-z_]+)(?::[a-z]+)?\}")
_JSON = "application/json"


class ErrorDetail(msgspec.Struct, frozen=True):
    """code: stable, for programs. param: the field that is wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(msgspec.Struct, frozen=True):
    """What every failed request gets."""

    error: ErrorDetail


@dataclass(frozen=True, slots=True)
class _Operation:
    """body, answer: structs. streams: whether events may come instead of the answer."""

    summary: str
    answer: type[msgspec.Struct]
    body: type[msgspec.Struct] | None = None
    streams: bool = False


_OPERATIONS = {
    ("post", "/v1/chat/completions"): _Operation(
        "Answer a conversation", ChatCompletion, ChatRequest, True
    ),
    ("post", "/v1/completions"): _Operation("Continue texts", Completion, CompletionRequest, True),
    ("post", "/v1/embeddings"): _Operation("Vectors of texts", EmbeddingList, EmbeddingRequest),
    ("get", "/v1/models"): _Operation("Models that may be used", ModelList),
    ("get", "/v1/models/{name}"): _Operation("One model", ModelCard),
    ("get", "/health"): _Operation("Whether the server is up", Health),
    ("get", "/ready"): _Operation("Whether the engine answers", Health),
}
_STRUCTS = [ErrorAnswer, *{each.answer for each in _OPERATIONS.values()}] + [
    each.body for each in _OPERATIONS.values() if each.body is not None
]

_ERRORS = {
    400: "A field is wrong; `param` names it",
    401: "No key, or one that does not open this",
    404: "No such model, adapter or program",
    413: "The body is too long",
    415: "The body is not JSON",
    422: "The tenant's program failed",
    429: "More than the tenant may ask for now; Retry-After says when to come back",
    500: "The server failed",
    503: "The engine is not ready, or there is no room; Retry-After says when to come back",
}


def openapi_route(routes: Sequence[BaseRoute], version: str) -> BaseRoute:
    """The description of these routes, open to all."""
    content = msgspec.json.encode(description(routes, version))

    async def openapi(request: Request) -> Response:
        del request
        return Response(content, media_type=_JSON)

    return open_route(PATH, openapi)


def description(routes: Sequence[BaseRoute], version: str) -> dict[str, Any]:
    """An OpenAPI 3.1 document. version: of Realm."""
    _, schemas = msgspec.json.schema_components(_STRUCTS, ref_template=f"{_SCHEMAS}{{name}}")
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if isinstance(route, MarkedRoute):
            entry = paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), {})
            for method in sorted((route.methods or set()) - {"HEAD"}):
                entry[method.lower()] = _operation(route, method.lower())
    return {
        "openapi": "3.1.0",
        "info": {"title": "Realm", "version": version},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {
                str(status): {"description": text, "content": _content("ErrorAnswer")}
                for status, text in _ERRORS.items()
            },
            "securitySchemes": {
                "tenant": {"type": "http", "scheme": "bearer", "description": "A tenant's key"},
                "admin": {"type": "http", "scheme": "bearer", "description": "An admin key"},
            },
        },
    }


def _operation(route: MarkedRoute, method: str) -> dict[str, Any]:
    known = _OPERATIONS.get((method, route.path))
    document: dict[str, Any] = {
        "operationId": f"{method}{re.sub('[^A-Za-z0-9]+', '_', route.path).rstrip('_')}",
        "summary": _summary(route) if known is None else known.summary,
        "tags": [route.access],
        "security": [] if route.access == "open" else [{route.access: []}],
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PARAMETER.findall(route.path)
    ]
    if parameters:
        document["parameters"] = parameters
    if known is None:
        document["responses"] = {
            "2XX": {"description": "Done"},
            "4XX": {"description": "Not done", "content": _content("ErrorAnswer")},
        }
        return document
    statuses = [503]
    if known.body is not None:
        document["requestBody"] = {"required": True, "content": _content(known.body.__name__)}
        statuses = list(_ERRORS)
    elif route.access != "open":
        statuses = [401, 404, 500]
    content = _content(known.answer.__name__)
    if known.streams:
        content["text/event-stream"] = {}
    document["responses"] = {
        "200": {"description": "The answer", "content": content},
        **{str(each): {"$ref": f"#/components/responses/{each}"} for each in statuses},
    }
    return document


def _content(name: str) -> dict[str, dict[str, Any]]:
    return {_JSON: {"schema": {"$ref": f"{_SCHEMAS}{name}"}}}


def _summary(route: MarkedRoute) -> str:
    text = inspect.getdoc(route.handler)
    return text.splitlines()[0] if text else f"{route.access}: {route.path}"
