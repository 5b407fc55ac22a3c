"""The protocol's functions: a row each, with its parameters, which describe it to clients too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Annotated, Any

import msgspec

from realm.errors import FieldError
from realm.server.definitions import Tenant
from realm.server.front.pipeline_steps import run_for
from realm.server.front.served_generation import ServedGeneration
from realm.server.front.services import Services
from realm.server.front.text_calls import text_call
from realm.server.front.websocket.frames import MOST_ID_CHARACTERS, described
from realm.server.text_options import DEFAULT_MAX_TOKENS, TextOptions
from realm.server.wire.messages import Finished, Piece

_ROUTE = "websocket"
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=201)]


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose call it is. stream: sends a part of the answer. cancel: ends the running call of this
    id on the same connection, and says whether there was one. request_id: for the log."""

    services: Services
    tenant: Tenant
    stream: Callable[[dict[str, Any]], Awaitable[None]]
    cancel: Callable[[str], bool]
    request_id: str


class GenerateParameters(TextOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """prompt: continued as it stands."""

    prompt: str
    model: _Name | None = None
    stream: bool = False
    logprobs: bool = False


class PipelineParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """input: an object, or the one value that the pipeline needs."""

    pipeline: _Name
    input: Any = {}


class CancelParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """id: of the call to cancel."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_ID_CHARACTERS)]


class NoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of functions that take none."""


async def _generate(caller: Caller, given: GenerateParameters) -> dict[str, Any]:
    services, tenant = caller.services, caller.tenant
    started = services.now()
    call = text_call(
        services,
        tenant,
        model=given.model,
        options=given,
        prompt=given.prompt,
        wants_pieces=given.stream,
        wants_logprobs=given.logprobs and given.stream,
    )
    async with ServedGeneration(
        services, tenant, call, route=_ROUTE, request_id=caller.request_id
    ) as generation:
        if given.stream:
            await _stream(caller, generation)
        done = await generation.result()
    return _summary(done, services.now() - started)


async def _stream(caller: Caller, generation: ServedGeneration) -> None:
    index = 0
    async for piece in generation:
        await caller.stream(_frame(piece.text, index, is_final=False) | _logprob(piece))
        index += 1
    await caller.stream(_frame("", index, is_final=True))


def _frame(text: str, index: int, *, is_final: bool) -> dict[str, Any]:
    return {"token": text, "text": text, "index": index, "is_final": is_final}


def _logprob(piece: Piece) -> dict[str, float]:
    """Of all the piece's tokens together."""
    if not piece.logprobs:
        return {}
    return {"logprob": sum(each.logprob for each in piece.logprobs)}


def _summary(done: Finished, seconds: float) -> dict[str, Any]:
    return {
        "text": done.text,
        "tokens_generated": len(done.token_ids),
        "prompt_tokens": done.prompt_token_count,
        "time_ms": round(seconds * 1e3, 3),
        "finish_reason": done.finish_reason,
    }


async def _pipeline(caller: Caller, given: PipelineParameters) -> dict[str, Any]:
    result = await run_for(
        caller.services, caller.tenant, given.pipeline, given.input, caller.request_id
    )
    return result.document() | {
        "tokens_generated": result.completion_tokens,
        "prompt_tokens": result.prompt_tokens,
    }


async def _cancel(caller: Caller, given: CancelParameters) -> dict[str, Any]:
    return {"id": given.id, "cancelled": caller.cancel(given.id)}


async def _health(caller: Caller, given: NoParameters) -> dict[str, Any]:
    del given
    is_ready = caller.services.engine.is_ready
    return {
        "status": "healthy" if is_ready else "unavailable",
        "version": version(),
        "engine_ready": is_ready,
    }


async def _metadata(caller: Caller, given: NoParameters) -> dict[str, Any]:
    del given
    services = caller.services
    return {
        "version": version(),
        "functions": [function.document() for function in FUNCTIONS.values()],
        "models": services.directory.model_names(caller.tenant),
        "pipelines": [each.pipeline_id for each in services.pipelines.list()],
    }


@dataclass(frozen=True, slots=True)
class Function:
    """One of the protocol's functions."""

    name: str
    description: str
    parameters: type[msgspec.Struct]
    do: Callable[[Caller, Any], Awaitable[dict[str, Any]]]

    def read(self, given: dict[str, Any]) -> msgspec.Struct:
        """The call's parameters; null counts as left out. Raises FieldError."""
        present = {name: value for name, value in given.items() if value is not None}
        try:
            return msgspec.convert(present, self.parameters)
        except msgspec.ValidationError as error:
            raise FieldError(*described(error)) from None

    def document(self) -> dict[str, Any]:
        """As `metadata` tells it; a parameter's type in JSON Schema's words."""
        schemas, definitions = msgspec.json.schema_components([self.parameters])
        del schemas
        properties = definitions[self.parameters.__name__]["properties"]
        return {
            "name": self.name,
            "description": self.description,
            "parameters": [
                _parameter(field, properties[field.encode_name])
                for field in msgspec.structs.fields(self.parameters)
            ],
        }


def _parameter(field: msgspec.structs.FieldInfo, schema: dict[str, Any]) -> dict[str, Any]:
    kinds = [each.get("type") for each in schema.get("anyOf", [schema])]
    found: dict[str, Any] = {
        "name": field.name,
        "type": "|".join(kind for kind in kinds if kind not in (None, "null")) or "any",
        "required": field.required,
    }
    if not field.required:
        default = schema.get("default")
        found["default"] = DEFAULT_MAX_TOKENS if field.name == "max_tokens" else default
    return found


@cache
def version() -> str:
    """Of the installed package."""
    return metadata.version("realm")


FUNCTIONS = {
    function.name: function
    for function in (
        Function("generate", "continue a prompt", GenerateParameters, _generate),
        Function("pipeline", "run a pipeline", PipelineParameters, _pipeline),
        Function("cancel", "end a running call", CancelParameters, _cancel),
        Function("health", "whether the server can generate", NoParameters, _health),
        Function("metadata", "version, functions and models", NoParameters, _metadata),
    )
}
