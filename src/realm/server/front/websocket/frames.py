"""The protocol's frames: what comes in, checked, and what goes out.

One JSON object a text frame. A frame that cannot be read is told under its id where it has a
usable one, and never quoted.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from realm.errors import FieldError

MOST_ID_CHARACTERS = 128

_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_ID_CHARACTERS)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class Authentication(msgspec.Struct, frozen=True):
    """The first frame with keys on."""

    type: Literal["auth"]
    api_key: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]

    def __repr__(self) -> str:
        return "Authentication(...)"


class Call(msgspec.Struct, frozen=True):
    """Fields that older clients send besides are passed over."""

    id: _Id
    function: _Name
    params: dict[str, Any] | None = None
    tenant_id: str | None = None


class FrameError(FieldError):
    """call_id: of the frame, if it has one."""

    def __init__(self, message: str, parameter: str | None, call_id: str | None) -> None:
        super().__init__(message, parameter)
        self.call_id = call_id


def read_call(text: str) -> Call:
    """Raises FrameError."""
    document = _decode(text)
    if not isinstance(document, dict):
        raise FrameError("a frame must be one JSON object", None, None)
    given = document.get("id")
    call_id = given if isinstance(given, str) and 0 < len(given) <= MOST_ID_CHARACTERS else None
    try:
        return msgspec.convert(document, Call)
    except msgspec.ValidationError as error:
        message, field = described(error)
        raise FrameError(message, field, call_id) from None


def read_key(text: str) -> str | None:
    """The key of an authentication's frame; None when it is none."""
    try:
        return msgspec.json.decode(text, type=Authentication).api_key
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None


def described(error: msgspec.ValidationError) -> tuple[str, str | None]:
    """A message that begins with the field, and the field: "max_tokens: Expected `int` >= 1"."""
    reason, _, place = str(error).partition(" - at `$")
    field = place.rstrip("`").removeprefix(".") or None
    if field is None and "`" in reason:  # of a missing or an unknown field
        field = reason.split("`")[1]
    elif field is not None:
        reason = f"{field}: {reason}"
    return reason, field


def _decode(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise FrameError("the frame is nested too deeply", None, None) from None
    except (msgspec.MsgspecError, UnicodeError) as error:
        reason = str(error) if isinstance(error, msgspec.MsgspecError) else "not UTF-8"
        raise FrameError(f"the frame is not JSON: {reason}", None, None) from None


def streaming(call_id: str, data: dict[str, Any]) -> dict[str, Any]:
    """A part of an answer."""
    return {"id": call_id, "status": "streaming", "data": data}


def complete(call_id: str, data: dict[str, Any]) -> dict[str, Any]:
    """A call's end when it went well."""
    return {"id": call_id, "status": "complete", "data": data}


def cancelled(call_id: str) -> dict[str, Any]:
    """A call's end when it was cancelled."""
    return {"id": call_id, "status": "cancelled"}


def failed(call_id: str | None, error: dict[str, Any]) -> dict[str, Any]:
    """A call's end when it failed; without an id for a frame that had none."""
    return {"id": call_id, "status": "error", "error": error}
