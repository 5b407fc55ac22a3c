"""/admin/keys: made, shown without their secrets, turned off and on, removed."""

from __future__ import annotations

import time

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from realm.server.definitions import Key
from realm.server.front.access import admin_route
from realm.server.front.admin.changes import Changes
from realm.server.front.admin.documents import KeyBody, KeyChange, json_response, key_document
from realm.server.front.identity import Identity
from realm.server.front.openai.bodies import read_body
from realm.server.front.services import Services

_KEY = msgspec.json.Decoder(KeyBody)
_CHANGE = msgspec.json.Decoder(KeyChange)


def key_routes(services: Services, changes: Changes) -> list[BaseRoute]:
    """Of tenants and of admins."""

    async def made(request: Request, tenant_id: str | None, identity: Identity) -> Response:
        body = await read_body(request, _KEY)
        seconds = body.expires_in_seconds
        expires_at = None if seconds is None else time.time() + seconds
        key, secret = await changes.create_key(
            tenant_id, identity, expires_at=expires_at, note=body.note
        )
        return json_response({**key_document(key), "key": secret}, 201)

    async def make(request: Request, identity: Identity) -> Response:
        """Makes an admin key; its secret is in this answer and nowhere else."""
        return await made(request, None, identity)

    async def make_for_tenant(request: Request, identity: Identity) -> Response:
        """Makes a tenant's key; its secret is in this answer and nowhere else."""
        return await made(request, request.path_params["tenant_id"], identity)

    async def listed(request: Request, identity: Identity) -> Response:
        """Lists all keys, without secrets."""
        del request, identity
        return json_response({"data": _documents(await changes.keys())})

    async def of_tenant(request: Request, identity: Identity) -> Response:
        """Lists a tenant's keys, without secrets."""
        del identity
        tenant = changes.require_tenant(request.path_params["tenant_id"])
        found = [key for key in await changes.keys() if key.tenant_id == tenant.tenant_id]
        return json_response({"data": _documents(found)})

    async def change(request: Request, identity: Identity) -> Response:
        """Turns a key off or on."""
        body = await read_body(request, _CHANGE)
        await changes.set_key_enabled(request.path_params["prefix"], body.is_enabled, identity)
        return Response(status_code=204)

    async def delete(request: Request, identity: Identity) -> Response:
        """Removes a key."""
        await changes.remove_key(request.path_params["prefix"], identity)
        return Response(status_code=204)

    tenants = "/admin/tenants/{tenant_id}/keys"
    one = "/admin/keys/{prefix}"
    return [
        admin_route("/admin/keys", listed, services=services),
        admin_route("/admin/keys", make, services=services, methods=["POST"]),
        admin_route(tenants, of_tenant, services=services),
        admin_route(tenants, make_for_tenant, services=services, methods=["POST"]),
        admin_route(one, change, services=services, methods=["PATCH"]),
        admin_route(one, delete, services=services, methods=["DELETE"]),
    ]


def _documents(keys: list[Key]) -> list[dict[str, object]]:
    return [key_document(key) for key in sorted(keys, key=lambda key: key.created_at)]
