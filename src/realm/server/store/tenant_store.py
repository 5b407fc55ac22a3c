"""Tenants, keys and items, as they are kept.

Every write is one transaction that raises the revision, by which other processes notice it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Row, delete, insert, select, update

from realm.errors import ConfigError, RequestError, TenantStoreError
from realm.server.definitions import Item, Key, Tenant, is_tenant_id
from realm.server.store.database import Database
from realm.server.store.key_secret import digest_of, draw_secret, is_prefix
from realm.server.store.snapshot import KINDS, Snapshot, StoredKey
from realm.server.store.tables import ITEM, KEY, META, TENANT

_BUSY_SECONDS = 5.0
_MOST_READINGS = 20
_LONGEST_NOTE = 200
_Row = Row[tuple[Any, ...]]
_Definition = TypeVar("_Definition", Tenant, Item)
_TENANT = msgspec.json.Decoder(Tenant)
_ITEM = msgspec.json.Decoder(Item)


class TenantStore:
    """Any thread may use it, and any number of processes one database."""

    def __init__(
        self,
        url: str,
        *,
        busy_seconds: float = _BUSY_SECONDS,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """url: SQLAlchemy's, such as `default_database_url()`. A database that is not there is
        made, an older one upgraded. busy_seconds: how long to wait for another process's lock.

        Raises TenantStoreError, as every method does for what the database refuses.
        """
        self._wall_clock = wall_clock
        self._database = Database(url, busy_seconds)

    @property
    def name(self) -> str:
        """The database's URL without its password."""
        return self._database.name

    def revision(self) -> int:
        """Another number after every write of any process."""
        with self._database.reading() as connection:
            return _revision(connection)

    def snapshot(self) -> Snapshot:
        """All that is kept, as of one moment."""
        for _ in range(_MOST_READINGS):
            # Databases differ in what a long reading sees of others' writes.
            with self._database.reading() as connection:
                before = _revision(connection)
                tenants = connection.execute(select(TENANT).order_by(TENANT.c.tenant_id)).all()
                keys = _key_rows(connection)
                items = connection.execute(select(ITEM).order_by(ITEM.c.owner, ITEM.c.name)).all()
                after = _revision(connection)
            if before == after:
                return Snapshot(
                    before,
                    tuple(_tenant_of(row) for row in tenants),
                    tuple(_stored_key_of(row) for row in keys),
                    {kind: tuple(_item_of(each) for each in items if each.kind == kind)
                     for kind in KINDS},
                )  # fmt: skip
        raise TenantStoreError(f"{self.name}: changes faster than it can be read")

    def put_tenant(self, tenant: Tenant) -> None:
        """Make a tenant, or replace all that was said of one. Raises ConfigError."""
        self.change_tenant(tenant.tenant_id, lambda _: tenant)

    def change_tenant(self, tenant_id: str, change: Callable[[Tenant | None], Tenant]) -> Tenant:
        """Make one tenant of what it was, None for one that there was not, while nobody else
        writes. What `change` raises leaves all as it was. Raises ConfigError."""
        with self._changing() as connection:
            place = TENANT.c.tenant_id == tenant_id
            row = None
            if is_tenant_id(tenant_id):
                row = connection.execute(select(TENANT).where(place)).first()
            tenant = change(None if row is None else _tenant_of(row))
            if tenant.tenant_id != tenant_id:
                raise ConfigError("a tenant's id cannot be changed")
            values = {"definition": _checked(tenant, _TENANT).decode()}
            if row is None:
                connection.execute(insert(TENANT).values(tenant_id=tenant_id, **values))
            else:
                connection.execute(update(TENANT).where(place).values(values))
        return tenant

    def remove_tenant(self, tenant_id: str) -> None:
        """With its keys and items. Raises RequestError for one that there is not."""
        with self._changing() as connection:
            _require_tenant(connection, tenant_id)
            connection.execute(delete(KEY).where(KEY.c.tenant_id == tenant_id))
            connection.execute(delete(ITEM).where(ITEM.c.owner == tenant_id))
            connection.execute(delete(TENANT).where(TENANT.c.tenant_id == tenant_id))

    def create_key(
        self, tenant_id: str | None, *, expires_at: float | None = None, note: str = ""
    ) -> tuple[Key, str]:
        """A new key, and its secret, which nobody can read again.

        tenant_id: None makes an admin key. expires_at: seconds since 1970, None for never. Raises
        RequestError for a tenant that there is not, ConfigError.
        """
        if len(note) > _LONGEST_NOTE or not note.isprintable():
            raise ConfigError(f"a note has up to {_LONGEST_NOTE} printable characters")
        if expires_at is not None and not math.isfinite(expires_at):
            raise ConfigError("the time at which a key expires must be a number")
        with self._changing() as connection:
            if tenant_id is not None:
                _require_tenant(connection, tenant_id)
            prefix, secret = draw_secret(is_admin=tenant_id is None)
            while _has_key(connection, prefix):
                prefix, secret = draw_secret(is_admin=tenant_id is None)
            key = Key(prefix, tenant_id, self._wall_clock(), expires_at, note=note)
            row = msgspec.structs.asdict(key) | {"digest": digest_of(secret).hex()}
            connection.execute(insert(KEY).values(row))
        return key, secret

    def set_key_enabled(self, prefix: str, is_enabled: bool) -> None:
        """Raises RequestError for a key that there is not."""
        with self._changing() as connection:
            _require_key(connection, prefix)
            change = update(KEY).where(KEY.c.prefix == prefix).values(is_enabled=is_enabled)
            connection.execute(change)

    def remove_key(self, prefix: str) -> None:
        """Raises RequestError for a key that there is not."""
        with self._changing() as connection:
            _require_key(connection, prefix)
            connection.execute(delete(KEY).where(KEY.c.prefix == prefix))

    def keys(self) -> list[Key]:
        """Of all tenants and admins, the oldest first."""
        with self._database.reading() as connection:
            return [_key_of(row) for row in _key_rows(connection)]

    def put_item(self, kind: str, item: Item) -> None:
        """Make a name of an item, or let it mean another. kind: one of KINDS.

        Raises ConfigError, RequestError for a tenant that there is not.
        """
        _check_kind(kind)
        _checked(item, _ITEM)
        values = {"digest": item.digest, "size_bytes": item.size_bytes, "path": item.path}
        with self._changing() as connection:
            if item.tenant_id is not None:
                _require_tenant(connection, item.tenant_id)
            place = {"kind": kind, "owner": item.tenant_id or "", "name": item.name}
            found = connection.execute(update(ITEM).filter_by(**place).values(values))
            if found.rowcount == 0:
                connection.execute(insert(ITEM).values(place | values))

    def remove_item(self, kind: str, name: str, tenant_id: str | None) -> None:
        """Raises ConfigError, RequestError for a name that there is not."""
        _check_kind(kind)
        place = {"kind": kind, "owner": tenant_id or "", "name": name}
        with self._changing() as connection:
            if tenant_id is not None:
                _require_tenant(connection, tenant_id)
            if connection.execute(delete(ITEM).filter_by(**place)).rowcount == 0:
                raise RequestError(f"no {kind} {name!r}")

    def close(self) -> None:
        """Lets go of the database; safe to repeat."""
        self._database.close()

    def __enter__(self) -> TenantStore:
        return self

    def __exit__(self, *unused: object) -> None:
        self.close()

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        """The revision comes first: its row's lock makes writers of any database take turns."""
        with self._database.writing() as connection:
            connection.execute(update(META).values(revision=META.c.revision + 1))
            yield connection


def _revision(connection: Connection) -> int:
    return int(connection.execute(select(META.c.revision)).scalar_one())


def _require_tenant(connection: Connection, tenant_id: str) -> None:
    known = select(TENANT.c.tenant_id).where(TENANT.c.tenant_id == tenant_id)
    if not is_tenant_id(tenant_id) or connection.execute(known).first() is None:
        raise RequestError(f"no tenant {tenant_id!r}")


def _require_key(connection: Connection, prefix: str) -> None:
    if not is_prefix(prefix) or not _has_key(connection, prefix):
        raise RequestError("no key of this prefix")


def _has_key(connection: Connection, prefix: str) -> bool:
    return (
        connection.execute(select(KEY.c.prefix).where(KEY.c.prefix == prefix)).first() is not None
    )


def _key_rows(connection: Connection) -> list[_Row]:
    return list(connection.execute(select(KEY).order_by(KEY.c.created_at, KEY.c.prefix)).all())


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ConfigError(f"there are no items of kind {kind!r}: one of {', '.join(KINDS)}")


def _checked(definition: _Definition, decoder: msgspec.json.Decoder[_Definition]) -> bytes:
    """As JSON that can be read again. Raises ConfigError."""
    try:
        document = msgspec.json.encode(definition)
        decoder.decode(document)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"not usable: {error}") from None
    return document


def _tenant_of(row: _Row) -> Tenant:
    try:
        return _TENANT.decode(row.definition)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise TenantStoreError(f"tenant {row.tenant_id!r} cannot be read: {error}") from None


def _key_of(row: _Row) -> Key:
    return Key(row.prefix, row.tenant_id, row.created_at, row.expires_at, row.is_enabled, row.note)


def _stored_key_of(row: _Row) -> StoredKey:
    try:
        return StoredKey(_key_of(row), bytes.fromhex(row.digest))
    except (TypeError, ValueError) as error:
        raise TenantStoreError(f"key {row.prefix!r} cannot be read: {error}") from None


def _item_of(row: _Row) -> Item:
    return Item(row.name, row.owner or None, row.digest, row.size_bytes, row.path)
