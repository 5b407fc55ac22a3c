"""All routes of this folder."""

from __future__ import annotations

from starlette.routing import BaseRoute

from realm.server.front.admin.changes import Changes
from realm.server.front.admin.content import ContentFolder
from realm.server.front.admin.items import item_routes
from realm.server.front.admin.keys import key_routes
from realm.server.front.admin.tenants import tenant_routes
from realm.server.front.admin.upload import UploadDesk
from realm.server.front.services import Services


def routes(services: Services) -> list[BaseRoute]:
    """See docs/admin.md."""
    settings, directory = services.settings, services.directory
    content = ContentFolder(settings.data_directory)
    changes = Changes(
        directory.store, directory, services.engine, content, settings.max_tenant_upload_bytes
    )
    desk = UploadDesk(settings.data_directory)
    return [
        *tenant_routes(services, changes),
        *key_routes(services, changes),
        *item_routes(services, changes, desk),
    ]
