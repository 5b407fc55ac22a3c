"""How a database of any older version becomes one of this version.

A migration that was published never changes; what is to be different is another one at the end.
Statements are text, not the tables of `tables`, which follow the newest version. They keep to SQL
that SQLite, PostgreSQL and MySQL all take.
"""

from __future__ import annotations

from sqlalchemy import Connection, inspect, text

from realm.errors import TenantStoreError

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE realm_meta (id INTEGER NOT NULL PRIMARY KEY, revision BIGINT NOT NULL)",
        "INSERT INTO realm_meta (id, revision) VALUES (1, 0)",
        "CREATE TABLE realm_tenant ("
        " tenant_id VARCHAR(64) NOT NULL PRIMARY KEY, definition TEXT NOT NULL)",
        "CREATE TABLE realm_key ("
        " prefix VARCHAR(32) NOT NULL PRIMARY KEY,"
        " tenant_id VARCHAR(64),"
        " digest VARCHAR(64) NOT NULL,"
        " created_at DOUBLE PRECISION NOT NULL,"
        " is_enabled BOOLEAN NOT NULL,"
        " FOREIGN KEY (tenant_id) REFERENCES realm_tenant (tenant_id))",
        "CREATE TABLE realm_item ("
        " kind VARCHAR(16) NOT NULL,"
        " owner VARCHAR(64) NOT NULL,"
        " name VARCHAR(100) NOT NULL,"
        " digest VARCHAR(64) NOT NULL,"
        " size_bytes BIGINT NOT NULL,"
        " path TEXT NOT NULL,"
        " PRIMARY KEY (kind, owner, name))",
    ),
    (
        "ALTER TABLE realm_key ADD COLUMN expires_at DOUBLE PRECISION",
        "ALTER TABLE realm_key ADD COLUMN note VARCHAR(200) DEFAULT '' NOT NULL",
        "CREATE INDEX realm_key_of_tenant ON realm_key (tenant_id)",
        "CREATE INDEX realm_item_of_owner ON realm_item (owner)",
    ),
)
"""The first makes version 1 of nothing, the next version 2 of version 1, and so on."""


def version_of(connection: Connection) -> int:
    """The database's version, 0 for an empty one.

    Raises TenantStoreError when it is a newer one than this, or an SQLite file of something else.
    """
    tables = set(inspect(connection).get_table_names())
    if "realm_schema" not in tables:
        if tables and connection.dialect.name == "sqlite":
            raise TenantStoreError("it is a database of something else")
        return 0
    version = int(connection.execute(text("SELECT version FROM realm_schema")).scalar_one())
    if version > len(MIGRATIONS):
        raise TenantStoreError(
            f"it has version {version}, made by a newer Realm; this one knows {len(MIGRATIONS)}"
        )
    return version


def migrate(connection: Connection, target: int = len(MIGRATIONS)) -> None:
    """Bring the database to version `target`, within the connection's transaction.

    Raises as `version_of` does.
    """
    version = version_of(connection)
    if version >= target:
        return
    if version == 0:
        connection.execute(text("CREATE TABLE realm_schema (version INTEGER NOT NULL PRIMARY KEY)"))
        connection.execute(text("INSERT INTO realm_schema (version) VALUES (0)"))
    for statements in MIGRATIONS[version:target]:
        for statement in statements:
            connection.execute(text(statement))
    connection.execute(text("UPDATE realm_schema SET version = :target"), {"target": target})
