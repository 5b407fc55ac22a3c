"""Errors as clients see them: a status, and a body in OpenAI's shape.

Every class of realm.errors has its own line in `_ANSWERS`. What a client cannot help is told in
general words and logged with its details; what it can is told as it was raised, without paths of
this machine.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from realm import errors

_LOGGER = logging.getLogger("realm.server.failures")

CLIENT_GONE = 499
"""Not a registered status; widely used in logs for a client that left before its answer."""

_LONGEST_MESSAGE = 2000
_GENERAL = "the server failed; its log says more under this request's id"

# From a slash, a drive or a file: address on, over at least one folder.
_PATH = re.compile(
    r"(?<![\w/.:])(?:file:/{1,3}|~?/|[A-Za-z]:[\\/])(?:[^\s/\\'\"`:;,]+[\\/])+([^\s/\\'\"`:;,]*)"
)
_OPTION = re.compile(r"([a-z][a-z_]{2,30})\b")
# fmt: off
_OPTIONS = frozenset({
    "frequency_penalty", "logit_bias", "logprobs", "max_tokens", "messages", "presence_penalty",
    "prompt", "seed", "stop", "temperature", "top_p",
})
_OWN_OPTIONS = frozenset({
    "draft_k", "grammar", "min_p", "program", "regex", "repetition_penalty", "top_k", "typical_p",
})
# fmt: on


@dataclass(frozen=True, slots=True)
class Failure:
    """What a client is told. kind: OpenAI's `type`. code: stable, for programs. parameter: the
    field that is wrong. retry_after_seconds: when it is worth trying again, if it is."""

    status: int
    code: str
    kind: str
    message: str
    parameter: str | None = None
    retry_after_seconds: float | None = None

    def body(self) -> bytes:
        """JSON, as OpenAI clients read it."""
        return msgspec.json.encode(
            {
                "error": {
                    "message": self.message,
                    "type": self.kind,
                    "param": self.parameter,
                    "code": self.code,
                }
            }
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    """message: in place of the error's own, where that is not for clients."""

    status: int
    code: str
    message: str | None = None
    parameter: str | None = None
    retry_after_seconds: float | None = None


_SERVER = _Answer(500, "server_error", _GENERAL)
_BAD_FILE = _Answer(400, "invalid_model_file")
_BAD_ADAPTER = _Answer(400, "invalid_adapter")
_BAD_PROGRAM = _Answer(400, "invalid_program")
_BUSY_STORE = _Answer(
    503, "store_unavailable", "tenants and keys cannot be read or written now", None, 1.0
)
_BUSY_STATE = _Answer(
    503, "store_unavailable", "the server's state cannot be read or written now", None, 1.0
)

_ANSWERS: Mapping[type[Exception], _Answer] = {
    errors.RealmError: _SERVER,
    errors.ConfigError: _Answer(400, "invalid_value"),
    errors.NotSupportedError: _Answer(400, "not_supported"),
    errors.GGUFError: _BAD_FILE,
    errors.GGUFOpenError: _SERVER,
    errors.GGUFMagicError: _BAD_FILE,
    errors.GGUFVersionError: _BAD_FILE,
    errors.GGUFTruncatedError: _BAD_FILE,
    errors.GGUFCountError: _BAD_FILE,
    errors.GGUFMetadataError: _BAD_FILE,
    errors.GGUFTensorError: _BAD_FILE,
    errors.GGUFLayoutError: _BAD_FILE,
    errors.ModelError: _BAD_FILE,
    errors.ArchitectureError: _BAD_FILE,
    errors.MissingTensorError: _BAD_FILE,
    errors.TensorShapeError: _BAD_FILE,
    errors.DraftMismatchError: _Answer(400, "draft_mismatch"),
    errors.ModelNotFoundError: _Answer(404, "model_not_found", parameter="model"),
    errors.AdapterError: _BAD_ADAPTER,
    errors.AdapterOpenError: _BAD_ADAPTER,
    errors.AdapterFormatError: _BAD_ADAPTER,
    errors.AdapterMismatchError: _Answer(400, "adapter_mismatch"),
    errors.AdapterKindError: _Answer(400, "adapter_not_supported"),
    errors.AdapterNotFoundError: _Answer(404, "adapter_not_found"),
    errors.AdapterCapacityError: _Answer(400, "adapter_too_large"),
    errors.TokenizerError: _Answer(400, "invalid_text"),
    errors.ChatTemplateError: _Answer(400, "invalid_messages", parameter="messages"),
    errors.RequestError: _Answer(400, "invalid_request"),
    errors.ContextLengthError: _Answer(400, "context_length_exceeded"),
    errors.CapacityError: _Answer(503, "capacity_exceeded", retry_after_seconds=1.0),
    errors.ConstraintError: _Answer(400, "invalid_constraint"),
    errors.ProgramNotFoundError: _Answer(404, "program_not_found", parameter="realm.program"),
    errors.FieldError: _Answer(400, "invalid_value"),
    errors.CancelledError: _Answer(CLIENT_GONE, "request_cancelled"),
    errors.HostError: _SERVER,
    errors.GuestError: _Answer(422, "program_failed"),
    errors.GuestCompileError: _BAD_PROGRAM,
    errors.GuestContractError: _BAD_PROGRAM,
    errors.GuestTrapError: _Answer(422, "program_trapped"),
    errors.GuestLimitError: _Answer(422, "program_limit_reached"),
    errors.ToolError: _Answer(422, "tool_failed"),
    errors.StateStoreError: _BUSY_STATE,
    errors.CatalogError: _SERVER,
    errors.IntegrityError: _SERVER,
    errors.ServerError: _SERVER,
    errors.UnauthorizedError: _Answer(401, "invalid_api_key"),
    errors.RateLimitError: _Answer(429, "rate_limit_exceeded", retry_after_seconds=1.0),
    errors.EngineUnavailableError: _Answer(503, "engine_unavailable", retry_after_seconds=1.0),
    errors.TenantStoreError: _BUSY_STORE,
    errors.PipelineError: _Answer(400, "invalid_pipeline"),
    errors.PipelineNotFoundError: _Answer(404, "pipeline_not_found"),
    errors.PipelineInputError: _Answer(400, "invalid_pipeline_input"),
    errors.PipelineStepError: _Answer(422, "pipeline_step_failed"),
    errors.WireError: _SERVER,
    errors.NativeError: _SERVER,
}

_HTTP = {
    403: _Answer(403, "forbidden"),
    404: _Answer(404, "not_found", "there is nothing at this path"),
    405: _Answer(405, "method_not_allowed", "this path does not take this method"),
    413: _Answer(413, "request_too_large"),
    415: _Answer(415, "unsupported_media_type"),
    499: _Answer(CLIENT_GONE, "request_cancelled", "the client has gone"),
}

_KINDS = {401: "authentication_error", 429: "rate_limit_error"}


def failure_of(error: Exception) -> Failure:
    """What the client is told of any error. Logs those that are the server's own."""
    if isinstance(error, HTTPException):
        return _http_failure(error)
    if isinstance(error, ClientDisconnect):
        return _failure(_HTTP[499], "", None, None)
    if isinstance(error, errors.PipelineStepError):
        cause = failure_of(error.cause)
        return replace(cause, message=f"step {error.step_id!r}: {cause.message}", parameter=None)
    answer = next((_ANSWERS[each] for each in type(error).__mro__ if each in _ANSWERS), _SERVER)
    if answer.status >= 500 and answer.message is not None:
        # No message in the line: it may quote what a client wrote.
        _LOGGER.error("%s", type(error).__name__, exc_info=error)
    text = without_paths(str(error))
    parameter = _own_parameter(error) or answer.parameter or _named_field(error, text)
    wait = getattr(error, "retry_after_seconds", answer.retry_after_seconds)
    return _failure(answer, text, parameter, wait)


def error_response(error: Exception) -> Response:
    """The response that tells it."""
    failure = failure_of(error)
    headers = {"cache-control": "no-store"}
    if isinstance(error, HTTPException) and error.headers:
        headers.update(error.headers)
    if failure.status == 401:
        headers["www-authenticate"] = 'Bearer realm="realm"'
    if failure.retry_after_seconds is not None:
        headers["retry-after"] = str(max(math.ceil(failure.retry_after_seconds), 1))
    if failure.status == 413:
        headers["connection"] = "close"  # the rest of the body is not wanted
    return Response(failure.body(), failure.status, headers=headers, media_type="application/json")


def without_paths(message: str) -> str:
    """The message with only the last part of each path of this machine, and not too long."""
    short = _PATH.sub(lambda found: found.group(1) or "...", message)
    return short if len(short) <= _LONGEST_MESSAGE else f"{short[:_LONGEST_MESSAGE]}..."


def _http_failure(error: HTTPException) -> Failure:
    answer = _HTTP.get(error.status_code)
    if answer is None:
        answer = _Answer(error.status_code, "invalid_request")
        if error.status_code >= 500:
            answer = _Answer(error.status_code, "server_error", _GENERAL)
    elif error.status_code == 404 and error.detail != HTTPStatus.NOT_FOUND.phrase:
        answer = replace(answer, message=None)  # a route's own words
    return _failure(answer, without_paths(error.detail), None, None)


def _failure(
    answer: _Answer, text: str, parameter: str | None, retry_after_seconds: float | None
) -> Failure:
    kind = _KINDS.get(answer.status)
    if kind is None:
        kind = "server_error" if answer.status >= 500 else "invalid_request_error"
    message = answer.message or text or answer.code.replace("_", " ")
    return Failure(answer.status, answer.code, kind, message, parameter, retry_after_seconds)


def _own_parameter(error: Exception) -> str | None:
    if isinstance(error, errors.FieldError):
        return error.parameter
    return error.field if isinstance(error, errors.PipelineInputError) else None


def _named_field(error: Exception, message: str) -> str | None:
    """The field that a message of the engine begins with."""
    if not isinstance(error, errors.ConfigError | errors.ConstraintError):
        return None
    found = _OPTION.match(message)
    name = "" if found is None else found.group(1)
    if name == "json_schema":
        return "response_format"
    if name in _OWN_OPTIONS:
        return f"realm.{name}"
    return name if name in _OPTIONS else None
