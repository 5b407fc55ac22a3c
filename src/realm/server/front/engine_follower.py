"""Tells the engine what others changed in the store, such as `realm keys` or another server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from realm.errors import RealmError, TenantStoreError
from realm.server.definitions import Item, Tenant
from realm.server.front.admin.content import ContentFolder
from realm.server.front.directory import Directory
from realm.server.front.engine_port import EnginePort

_LOGGER = logging.getLogger("realm.server.store")
KINDS = ("adapter", "program", "draft")
_ItemKey = tuple[str, str, str | None]


class EngineFollower:
    """For the event loop's thread; the store is read beside it. What the admin API changed is told
    a second time, which changes nothing, unless another engine has taken the place of the first.

    content: where uploads lie; those of tenants that go while this looks on are removed with them.
    """

    def __init__(self, directory: Directory, engine: EnginePort, content: ContentFolder) -> None:
        self._directory = directory
        self._content = content
        self._engine = engine
        self._tenants = self._tenants_now()
        self._items = self._items_now()
        self._is_readable = True

    async def follow(self) -> None:
        """Reads the store again and tells the engine the differences. A store that cannot be read
        leaves everything as it is."""
        try:
            await asyncio.to_thread(self._directory.refresh)
        except TenantStoreError:
            if self._is_readable:
                _LOGGER.warning("the store cannot be read; what is known goes on")
            self._is_readable = False
            return
        self._is_readable = True
        before, self._tenants = self._tenants, self._tenants_now()
        items_before, self._items = self._items, self._items_now()
        for tenant_id in before.keys() - self._tenants.keys():
            await self._tell(self._engine.remove_tenant(tenant_id), tenant_id)
            await self._drop_content(tenant_id)
        # Items first: a tenant may name one that is new.
        for key, item in self._items.items():
            if items_before.get(key) != item:
                await self._tell(self._engine.put_item(key[0], item), item.name)
        for tenant_id, tenant in self._tenants.items():
            if before.get(tenant_id) != tenant:
                await self._tell(self._engine.put_tenant(tenant), tenant_id)
        for kind, name, owner in items_before.keys() - self._items.keys():
            if owner is None or owner in self._tenants:
                await self._tell(self._engine.remove_item(kind, name, owner), name)

    async def _drop_content(self, tenant_id: str) -> None:
        """Unless the tenant is back already, or something there still has a name."""
        named = any(each.tenant_id == tenant_id for each in self._items_now().values())
        if not named and tenant_id not in self._tenants_now():
            await asyncio.to_thread(self._content.drop_tenant, tenant_id)

    async def _tell(self, telling: Awaitable[None], what: str) -> None:
        """The engine may refuse; an engine that is away is told everything when it is back."""
        try:
            await telling
        except RealmError as error:
            _LOGGER.warning("the engine did not take a change", extra={"of": what}, exc_info=error)

    def _tenants_now(self) -> dict[str, Tenant]:
        return {tenant.tenant_id: tenant for tenant in self._directory.tenants()}

    def _items_now(self) -> dict[_ItemKey, Item]:
        return {
            (kind, item.name, item.tenant_id): item
            for kind in KINDS
            for item in self._directory.items(kind)
        }
