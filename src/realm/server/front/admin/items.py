"""Adapters, programs and drafts: everyone's and each tenant's for admins, and a tenant's own.

A body is the file itself: an adapter as GGUF or as a zip of a PEFT folder, a program as WASM, a
draft as GGUF.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from realm.server.front.access import admin_route, tenant_route
from realm.server.front.admin.changes import Changes
from realm.server.front.admin.content import content_of
from realm.server.front.admin.documents import item_document, item_name, json_response
from realm.server.front.admin.upload import UploadDesk
from realm.server.front.identity import Identity
from realm.server.front.services import Services

PROGRAM_BYTES = 64 << 20
_KINDS = {"adapters": "adapter", "programs": "program", "drafts": "draft"}
_OWN = ("adapters", "programs")
_Owner = Callable[[Request, Identity], str | None]


def item_routes(services: Services, changes: Changes, desk: UploadDesk) -> list[BaseRoute]:
    """/admin/KIND, /admin/tenants/{tenant_id}/KIND, and /v1/KIND for what tenants bring along."""
    found: list[BaseRoute] = []
    for plural, kind in _KINDS.items():
        places: list[tuple[str, _Owner, Callable[..., BaseRoute]]] = [
            (f"/admin/{plural}", _everyone, admin_route),
            (f"/admin/tenants/{{tenant_id}}/{plural}", _named, admin_route),
        ]
        if plural in _OWN:
            places.append((f"/v1/{plural}", _own, tenant_route))
        for path, owner, make in places:
            handlers = _Handlers(services, changes, desk, kind, owner)
            one = f"{path}/{{name}}"
            found += [
                make(path, handlers.listed, services=services),
                make(one, handlers.put, services=services, methods=["PUT"]),
                make(one, handlers.delete, services=services, methods=["DELETE"]),
            ]
    return found


def _everyone(request: Request, identity: Identity) -> None:
    del request, identity


def _named(request: Request, identity: Identity) -> str:
    del identity
    return str(request.path_params["tenant_id"])


def _own(request: Request, identity: Identity) -> str:
    del request
    assert identity.tenant is not None
    return identity.tenant.tenant_id


class _Handlers:
    """Of one kind of items, of one kind of owners."""

    def __init__(
        self, services: Services, changes: Changes, desk: UploadDesk, kind: str, owner: _Owner
    ) -> None:
        self._most_bytes = services.settings.max_upload_bytes
        self._changes = changes
        self._desk = desk
        self._kind = kind
        self._owner = owner

    async def listed(self, request: Request, identity: Identity) -> Response:
        """Lists them by name."""
        tenant_id = self._owner(request, identity)
        if tenant_id is not None and identity.is_admin:
            self._changes.require_tenant(tenant_id)
        items = self._changes.items(self._kind, tenant_id)
        return json_response({"data": [item_document(item) for item in items]})

    async def put(self, request: Request, identity: Identity) -> Response:
        """Uploads one, which is checked first; a name that is there already then means the new."""
        name = item_name(request.path_params["name"])
        tenant_id = self._owner(request, identity)
        if tenant_id is not None and identity.is_admin:
            self._changes.require_tenant(tenant_id)
        most = min(self._most_bytes, PROGRAM_BYTES) if self._kind == "program" else self._most_bytes
        sender = None if identity.tenant is None else identity.tenant.tenant_id
        async with self._desk.receive(request, most, sender) as upload:
            content = await asyncio.to_thread(content_of, upload, self._kind, self._most_bytes)
            item, is_new = await self._changes.put_item(
                self._kind, name, tenant_id, content, identity
            )
        return json_response(item_document(item), 201 if is_new else 200)

    async def delete(self, request: Request, identity: Identity) -> Response:
        """Removes one; requests that use it end with it."""
        name = item_name(request.path_params["name"])
        tenant_id = self._owner(request, identity)
        await self._changes.remove_item(self._kind, name, tenant_id, identity)
        return Response(status_code=204)
