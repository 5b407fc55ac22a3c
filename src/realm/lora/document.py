"""JSON from a stranger: an object without duplicate keys, of bounded size and depth.

It checks the form only; no key has a meaning here.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from realm.errors import AdapterFormatError

_SHOWN_CHARACTERS = 100


def shown(name: object) -> str:
    """A name or value out of a file, safe to print: quoted, escaped and of bounded length."""
    text = ascii(name)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def at_tensor(place: str, name: str) -> str:
    """The beginning of an error's message about a tensor of the file at `place`."""
    return f"{place}: tensor {shown(name)}"


def parse_object(data: bytes, place: str) -> dict[str, Any]:
    """The object that `data` holds. place: begins the message of an error.

    Raises AdapterFormatError for anything else: no UTF-8, duplicate keys at any depth, numbers
    that are none, nesting deeper than the parser goes.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        document = dict(pairs)
        if len(document) < len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise AdapterFormatError(f"{place}: the key {shown(twice)} is there twice")
        return document

    def refuse(constant: str) -> NoReturn:
        raise AdapterFormatError(f"{place}: {constant} is not JSON")

    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=refuse)
    except UnicodeDecodeError as reason:
        raise AdapterFormatError(f"{place}: not UTF-8: {reason.reason}") from None
    except RecursionError:
        raise AdapterFormatError(f"{place}: nested too deep") from None
    except ValueError as reason:
        raise AdapterFormatError(f"{place}: not JSON: {str(reason)[:_SHOWN_CHARACTERS]}") from None
    if not isinstance(document, dict):
        raise AdapterFormatError(f"{place}: not a JSON object but {type(document).__name__}")
    return document
