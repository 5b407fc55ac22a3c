"""JSON bodies to structs. Whatever a client sends ends in a struct or in an error with the field's
path."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from realm.errors import FieldError

_Body = TypeVar("_Body")
_PLACE = re.compile(r" - at (?:`key` in )?`\$\.?(.*)`\Z", re.DOTALL)
_MISSING = re.compile(r"missing required field `([^`]+)`")
_UNKNOWN = re.compile(r"contains unknown field `([^`]+)`")


async def read_body(request: Request, decoder: msgspec.json.Decoder[_Body]) -> _Body:
    """Raises FieldError, and an HTTPException for a content type that is not JSON and for a body
    that is too long."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # Other sites' pages can post without a type and with a few that are not JSON's, where no key
    # is asked for; browsers then say who they are.
    is_untyped = not kind and "origin" not in request.headers
    if not is_untyped and kind != "application/json" and not kind.endswith("+json"):
        raise HTTPException(415, "the body's Content-Type must be application/json")
    return decode_body(await request.body(), decoder)


def decode_body(body: bytes, decoder: msgspec.json.Decoder[_Body]) -> _Body:
    """Raises FieldError."""
    if not body.strip():
        raise FieldError("the body is empty; a JSON object is wanted")
    try:
        # Decoding skips over strings of fields that nobody reads.
        body.decode()
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _field_error(str(error)) from None
    except msgspec.DecodeError as error:
        raise FieldError(f"the body is not JSON: {error}") from None
    except UnicodeDecodeError:
        raise FieldError("the body is not UTF-8") from None
    except RecursionError:
        raise FieldError("the body is nested too deeply") from None


def _field_error(text: str) -> FieldError:
    found = _PLACE.search(text)
    reason, place = (text[: found.start()], found.group(1)) if found else (text, "")
    named = _MISSING.search(reason) or _UNKNOWN.search(reason)
    if named is not None:
        place = f"{place}.{named.group(1)}" if place else named.group(1)
    return FieldError(f"{place}: {reason}" if place else reason, place or None)
