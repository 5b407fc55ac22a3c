"""Errors as the protocol tells them: one of its five codes, without anything of this machine."""

from __future__ import annotations

from typing import Any

from realm.errors import PipelineNotFoundError, PipelineStepError, ServerError
from realm.server.front.failures import failure_of

RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"
UNAUTHORIZED = "UNAUTHORIZED"
DISPATCH_ERROR = "DISPATCH_ERROR"
INVALID_PARAMS = "INVALID_PARAMS"
INTERNAL_ERROR = "INTERNAL_ERROR"
CODES = (RATE_LIMIT_EXCEEDED, UNAUTHORIZED, DISPATCH_ERROR, INVALID_PARAMS, INTERNAL_ERROR)

_FIELDS = {"response_format": "json_schema", "messages": "prompt"}  # HTTP's names


class UnknownFunctionError(ServerError):
    """A call names no function of the protocol."""


def call_error(error: Exception) -> dict[str, Any]:
    """code, message; details with the field, the step or a more exact reason where there is one;
    retry_after in seconds where it is worth trying again."""
    if isinstance(error, UnknownFunctionError):
        return {"code": DISPATCH_ERROR, "message": str(error)}
    failure = failure_of(error)
    found: dict[str, Any] = {"code": _code(failure.status), "message": failure.message}
    details = {"reason": failure.code}
    field = "pipeline" if isinstance(error, PipelineNotFoundError) else failure.parameter
    if field is not None:
        details["field"] = _FIELDS.get(field, field.removeprefix("realm."))
    if isinstance(error, PipelineStepError):
        details["step"] = error.step_id
    found["details"] = details
    if failure.retry_after_seconds is not None:
        found["retry_after"] = failure.retry_after_seconds
    return found


def _code(status: int) -> str:
    if status == 429:
        return RATE_LIMIT_EXCEEDED
    if status in (401, 403):
        return UNAUTHORIZED
    return INTERNAL_ERROR if status >= 500 else INVALID_PARAMS
