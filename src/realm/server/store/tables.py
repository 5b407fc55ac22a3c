"""The tables as this version uses them; `migrations` makes them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

METADATA = MetaData()

META = Table(
    "realm_meta",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
)
"""One row, of id 1."""

TENANT = Table(
    "realm_tenant",
    METADATA,
    Column("tenant_id", String(64), primary_key=True),
    Column("definition", Text, nullable=False),
)
"""definition: a Tenant as JSON."""

KEY = Table(
    "realm_key",
    METADATA,
    Column("prefix", String(32), primary_key=True),
    Column("tenant_id", String(64), ForeignKey("realm_tenant.tenant_id")),
    Column("digest", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("is_enabled", Boolean, nullable=False),
    Column("expires_at", Double),
    Column("note", String(200), nullable=False),
)
"""tenant_id: NULL for an admin key. digest: hexadecimal."""

ITEM = Table(
    "realm_item",
    METADATA,
    Column("kind", String(16), primary_key=True),
    Column("owner", String(64), primary_key=True),
    Column("name", String(100), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("path", Text, nullable=False),
)
"""owner: a tenant's id, or nothing for everyone's: NULL cannot be part of a primary key."""
