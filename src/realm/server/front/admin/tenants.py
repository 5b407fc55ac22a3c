"""/admin/tenants: who may ask, and for how much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from realm.errors import FieldError
from realm.server.definitions import Tenant
from realm.server.front.access import admin_route
from realm.server.front.admin.changes import Changes
from realm.server.front.admin.documents import json_response, merged, tenant_document, tenant_from
from realm.server.front.identity import Identity
from realm.server.front.openai.bodies import read_body
from realm.server.front.services import Services

_OBJECT = msgspec.json.Decoder(dict[str, Any])
_MOST_LISTED = 1000


def tenant_routes(services: Services, changes: Changes) -> list[BaseRoute]:
    """List, show, put, patch, delete."""

    def shown(tenant_id: str) -> dict[str, Any]:
        document = tenant_document(changes.require_tenant(tenant_id))
        return {**document, "running": services.admission.running_of(tenant_id)}

    async def listed(request: Request, identity: Identity) -> Response:
        """Lists tenants by id, from after the one that `after` names."""
        del identity
        limit = _whole_number(request.query_params, "limit", _MOST_LISTED)
        after = request.query_params.get("after", "")
        found = sorted(
            each.tenant_id for each in services.directory.tenants() if each.tenant_id > after
        )
        document = {
            "data": [shown(tenant_id) for tenant_id in found[:limit]],
            "has_more": len(found) > limit,
        }
        return json_response(document)

    async def one(request: Request, identity: Identity) -> Response:
        """Shows a tenant."""
        del identity
        return json_response(shown(request.path_params["tenant_id"]))

    async def put(request: Request, identity: Identity) -> Response:
        """Makes a tenant, or replaces all that is set of one."""
        tenant_id = request.path_params["tenant_id"]
        given = await read_body(request, _OBJECT)
        tenant = tenant_from(tenant_id, given)
        is_new = await changes.put_tenant(tenant, identity)
        return json_response(shown(tenant_id), 201 if is_new else 200)

    async def patch(request: Request, identity: Identity) -> Response:
        """Changes what is given of a tenant; null sets a field back."""
        tenant_id = request.path_params["tenant_id"]
        given = await read_body(request, _OBJECT)

        def change(tenant: Tenant) -> Tenant:
            return tenant_from(tenant_id, merged(msgspec.to_builtins(tenant), given))

        await changes.change_tenant(tenant_id, change, identity)
        return json_response(shown(tenant_id))

    async def delete(request: Request, identity: Identity) -> Response:
        """Removes a tenant with its keys, adapters, programs and drafts."""
        await changes.remove_tenant(request.path_params["tenant_id"], identity)
        return Response(status_code=204)

    path = "/admin/tenants/{tenant_id}"
    return [
        admin_route("/admin/tenants", listed, services=services),
        admin_route(path, one, services=services),
        admin_route(path, put, services=services, methods=["PUT"]),
        admin_route(path, patch, services=services, methods=["PATCH"]),
        admin_route(path, delete, services=services, methods=["DELETE"]),
    ]


def _whole_number(query: Mapping[str, str], name: str, most: int) -> int:
    text = query.get(name, str(most))
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and 1 <= int(text) <= most):
        raise FieldError(f"{name}: must be a whole number in 1..{most}", name)
    return int(text)
