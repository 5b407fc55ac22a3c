"""Changes of tenants, keys and items, each in the order that a crash in between cannot spoil.

What the engine may refuse it is asked first; then the store is written, which alone counts; then
the directory reads it again. When the store fails, the engine is told what held before. Without an
engine tenants and keys change all the same, since the next one is told everything; items do not,
since nobody could say whether they are usable. An engine that took another's place between the two
steps was told what held before; `engine_follower` tells it the change within a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from starlette.exceptions import HTTPException

from realm.errors import (
    AdapterNotFoundError,
    EngineUnavailableError,
    FieldError,
    ModelNotFoundError,
    ProgramNotFoundError,
    RealmError,
    RequestError,
    TenantStoreError,
)
from realm.server.definitions import Item, Key, Tenant
from realm.server.front.admin.content import Content, ContentFolder
from realm.server.front.directory import DEFAULT_TENANT_ID, Directory
from realm.server.front.engine_port import EnginePort
from realm.server.front.identity import Identity
from realm.server.store import TenantStore

_AUDIT = logging.getLogger("realm.server.audit")
_MOST_ITEMS = 1000
_MOST_OVERTAKINGS = 20
_Result = TypeVar("_Result")

NOT_FOUND: dict[str, type[RealmError]] = {
    "adapter": AdapterNotFoundError,
    "program": ProgramNotFoundError,
    "draft": ModelNotFoundError,
}


class Changes:
    """One at a time, for the event loop's thread; the store is written beside it."""

    def __init__(
        self,
        store: TenantStore,
        directory: Directory,
        engine: EnginePort,
        content: ContentFolder,
        most_own_bytes: int,
    ) -> None:
        """most_own_bytes: of all items that one tenant uploads itself."""
        self._store = store
        self._directory = directory
        self._engine = engine
        self._content = content
        self._most_own_bytes = most_own_bytes
        self._lock = asyncio.Lock()

    async def put_tenant(self, tenant: Tenant, by: Identity) -> bool:
        """Whether it is new. Raises ConfigError for what the engine cannot keep."""
        async with self._lock:
            before = self._tenant(tenant.tenant_id)
            await self._put_tenant(tenant, before, partial(self._store.put_tenant, tenant))
        _note("tenant put", by, owner=tenant.tenant_id)
        return before is None

    async def change_tenant(
        self, tenant_id: str, change: Callable[[Tenant], Tenant], by: Identity
    ) -> None:
        """What others write of it meanwhile is not lost. Raises as `put_tenant` does; HTTPException
        404 for one that there is not."""
        async with self._lock:
            before = self.require_tenant(tenant_id)
            for _ in range(_MOST_OVERTAKINGS):
                tenant = change(before)
                write = partial(self._store.change_tenant, tenant_id, _instead(before, tenant))
                try:
                    await self._put_tenant(tenant, before, write)
                except _OvertakenError as overtaken:
                    if overtaken.found is None:
                        await self._take_back_tenant(tenant_id, None)
                        raise HTTPException(404, "no such tenant") from None
                    before = overtaken.found
                else:
                    break
            else:
                await self._take_back_tenant(tenant_id, before)
                raise TenantStoreError("others change the tenant all the time")
        _note("tenant changed", by, owner=tenant_id)

    async def remove_tenant(self, tenant_id: str, by: Identity) -> None:
        """With its keys and items. HTTPException 404 for one that there is not."""
        async with self._lock:
            if self._tenant(tenant_id) is None:
                raise HTTPException(404, "no such tenant")
            await self._write(self._store.remove_tenant, tenant_id)
            await self._if_there(self._engine.remove_tenant(tenant_id))
            await asyncio.to_thread(self._content.drop_tenant, tenant_id)
        _note("tenant removed", by, owner=tenant_id)

    async def create_key(
        self, tenant_id: str | None, by: Identity, *, expires_at: float | None, note: str
    ) -> tuple[Key, str]:
        """The key, and its secret, which nobody can read again."""
        async with self._lock:
            if tenant_id is not None and self._tenant(tenant_id) is None:
                raise HTTPException(404, "no such tenant")
            key, secret = await self._write(
                lambda: self._store.create_key(tenant_id, expires_at=expires_at, note=note)
            )
        _note("key created", by, owner=tenant_id, prefix=key.prefix)
        return key, secret

    async def keys(self) -> list[Key]:
        """Of all tenants and admins."""
        return list(await asyncio.to_thread(self._store.keys))

    async def set_key_enabled(self, prefix: str, is_enabled: bool, by: Identity) -> None:
        """HTTPException 404 for one that there is not."""
        async with self._lock:
            await self._require_key(prefix)
            await self._write(self._store.set_key_enabled, prefix, is_enabled)
        _note("key enabled" if is_enabled else "key disabled", by, prefix=prefix)

    async def remove_key(self, prefix: str, by: Identity) -> None:
        """HTTPException 404 for one that there is not."""
        async with self._lock:
            await self._require_key(prefix)
            await self._write(self._store.remove_key, prefix)
        _note("key removed", by, prefix=prefix)

    async def put_item(
        self, kind: str, name: str, tenant_id: str | None, content: Content, by: Identity
    ) -> tuple[Item, bool]:
        """The item, and whether its name is new. Raises the engine's error for what cannot be used,
        EngineUnavailableError, and TenantStoreError; then nothing has changed."""
        async with self._lock:
            if tenant_id is not None:
                self.require_tenant(tenant_id)
            self._check_room(kind, name, tenant_id, content.size_bytes, by)
            before = self._item(kind, name, tenant_id)
            path = await asyncio.to_thread(self._content.keep, content, kind, tenant_id)
            item = Item(name, tenant_id, content.digest, content.size_bytes, str(path))
            try:
                await self._engine.put_item(kind, item)
            except BaseException:
                await self._drop_unused(kind, item)
                raise
            try:
                await self._write(self._store.put_item, kind, item)
            except RealmError:
                await self._take_back_item(kind, item, before)
                await self._drop_unused(kind, item)
                raise
            if before is not None:
                await self._drop_unused(kind, before)
        _note(f"{kind} put", by, owner=tenant_id, item=name, digest=item.digest)
        return item, before is None

    async def remove_item(self, kind: str, name: str, tenant_id: str | None, by: Identity) -> None:
        """Raises the error of a name that there is not."""
        async with self._lock:
            before = self._item(kind, name, tenant_id)
            if before is None:
                raise NOT_FOUND[kind](f"no {kind} {name!r}")
            await self._write(self._store.remove_item, kind, name, tenant_id)
            await self._if_there(self._engine.remove_item(kind, name, tenant_id))
            await self._drop_unused(kind, before)
        _note(f"{kind} removed", by, owner=tenant_id, item=name)

    def items(self, kind: str, tenant_id: str | None) -> list[Item]:
        """Exactly the tenant's own, or everyone's, by name."""
        found = [each for each in self._directory.items(kind) if each.tenant_id == tenant_id]
        return sorted(found, key=lambda item: item.name)

    def require_tenant(self, tenant_id: str) -> Tenant:
        """HTTPException 404 for one that there is not."""
        found = self._tenant(tenant_id)
        if found is None:
            raise HTTPException(404, "no such tenant")
        return found

    async def _write(self, write: Callable[..., _Result], *arguments: object) -> _Result:
        """In the store, and read again. A refresh that fails is made up for within a second."""
        result = await asyncio.to_thread(write, *arguments)
        try:
            await asyncio.to_thread(self._directory.refresh)
        except RealmError:
            _AUDIT.warning("the directory could not be read again after a change")
        return result

    async def _if_there(self, telling: Awaitable[None]) -> None:
        with suppress(EngineUnavailableError):  # the next engine process is told everything
            await telling

    async def _put_tenant(
        self, tenant: Tenant, before: Tenant | None, write: Callable[[], object]
    ) -> None:
        await self._if_there(self._engine.put_tenant(tenant))
        try:
            await self._write(write)
        except RealmError:
            await self._take_back_tenant(tenant.tenant_id, before)
            raise

    async def _take_back_tenant(self, tenant_id: str, before: Tenant | None) -> None:
        if before is None:
            await self._if_there(self._engine.remove_tenant(tenant_id))
        else:
            await self._if_there(self._engine.put_tenant(before))

    async def _take_back_item(self, kind: str, item: Item, before: Item | None) -> None:
        if before is None:
            await self._if_there(self._engine.remove_item(kind, item.name, item.tenant_id))
        else:
            await self._if_there(self._engine.put_item(kind, before))

    async def _drop_unused(self, kind: str, item: Item) -> None:
        """The content, unless another name of the same owner means it."""
        others = self.items(kind, item.tenant_id)
        if all(each.path != item.path for each in others):
            await asyncio.to_thread(self._content.drop, Path(item.path))

    def _check_room(
        self, kind: str, name: str, tenant_id: str | None, size_bytes: int, by: Identity
    ) -> None:
        """A tenant's own uploads are bounded; an admin knows what it does."""
        if by.is_admin:
            return
        sizes = [
            item.size_bytes
            for each in NOT_FOUND
            for item in self.items(each, tenant_id)
            if (each, item.name) != (kind, name)
        ]
        if len(sizes) >= _MOST_ITEMS or sum(sizes) + size_bytes > self._most_own_bytes:
            text = f"{_MOST_ITEMS} and {self._most_own_bytes} bytes"
            raise FieldError(f"a tenant's adapters and programs may be {text} together")

    async def _require_key(self, prefix: str) -> None:
        if all(key.prefix != prefix for key in await self.keys()):
            raise HTTPException(404, "no such key")

    def _tenant(self, tenant_id: str) -> Tenant | None:
        try:
            return self._directory.tenant(tenant_id)
        except RequestError:
            return None

    def _item(self, kind: str, name: str, tenant_id: str | None) -> Item | None:
        for item in self._directory.items(kind):
            if (item.name, item.tenant_id) == (name, tenant_id):
                return item
        return None


class _OvertakenError(Exception):
    """found: what the tenant is by now; None when it is gone."""

    def __init__(self, found: Tenant | None) -> None:
        super().__init__()
        self.found = found


def _instead(before: Tenant, after: Tenant) -> Callable[[Tenant | None], Tenant]:
    """For the store: `after` where it still has `before`; else raises _OvertakenError."""

    def change(found: Tenant | None) -> Tenant:
        # The tenant of no keys is one that the store need not have.
        is_unwritten = found is None and before.tenant_id == DEFAULT_TENANT_ID
        if found != before and not is_unwritten:
            raise _OvertakenError(found)
        return after

    return change


def _note(what: str, by: Identity, **details: str | None) -> None:
    """One line of the audit log. Never a secret: of keys only their prefixes."""
    who = "admin" if by.tenant is None else by.tenant.tenant_id
    _AUDIT.info(what, extra={"by": who, "by_prefix": by.key_prefix, **details})
