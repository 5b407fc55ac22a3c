"""What the admin API takes and gives, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from starlette.responses import Response

from realm.errors import FieldError
from realm.server.definitions import Item, ItemName, Key, Tenant
from realm.server.front.openai.bodies import decode_body

_HEADERS = {"cache-control": "no-store"}
_Note = Annotated[str, msgspec.Meta(max_length=200)]
_Seconds = Annotated[float, msgspec.Meta(gt=0, le=1e10)]
_TOO_DEEP = "the body is nested too deeply"
_TENANT = msgspec.json.Decoder(Tenant)


class KeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to make. expires_in_seconds: None for never."""

    note: _Note = ""
    expires_in_seconds: _Seconds | None = None


class KeyChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What can change of a key."""

    is_enabled: bool


def json_response(document: object, status: int = 200) -> Response:
    """The document, not to be kept by anyone in between."""
    content = msgspec.json.encode(document)
    return Response(content, status, headers=_HEADERS, media_type="application/json")


def tenant_from(tenant_id: str, document: Mapping[str, Any]) -> Tenant:
    """The tenant that a body describes. Raises FieldError."""
    if document.get("tenant_id", tenant_id) != tenant_id:
        raise FieldError("tenant_id: another than in the path", "tenant_id")
    try:
        body = msgspec.json.encode({**document, "tenant_id": tenant_id})
    except RecursionError:
        raise FieldError(_TOO_DEEP) from None
    return decode_body(body, _TENANT)


def tenant_document(tenant: Tenant) -> dict[str, Any]:
    """With every field, also those that are as usual."""
    document = msgspec.structs.asdict(tenant)
    return {**document, "limits": msgspec.structs.asdict(tenant.limits)}


def merged(document: Any, patch: Any) -> Any:
    """The document with the patch's fields in it (RFC 7386): null removes, objects are merged.
    Raises FieldError."""
    try:
        return _merged(document, patch)
    except RecursionError:
        raise FieldError(_TOO_DEEP) from None


def _merged(document: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result


def key_document(key: Key) -> dict[str, Any]:
    """Never with the secret, which nobody has."""
    return msgspec.structs.asdict(key)


def item_document(item: Item) -> dict[str, Any]:
    """Without its place on this machine."""
    return {"name": item.name, "digest": item.digest, "size_bytes": item.size_bytes}


def item_name(text: str) -> str:
    """Raises FieldError for what nothing may be called."""
    try:
        return msgspec.convert(text, ItemName)
    except msgspec.ValidationError:
        raise FieldError(
            "a name has up to 100 letters, digits, '.', '_' and '-', and begins with one of the "
            "first two",
            "name",
        ) from None
