"""Older databases become new ones; newer and foreign ones are left alone."""

import sqlite3

import pytest
from sqlalchemy import create_engine, inspect

from realm.errors import TenantStoreError
from realm.server.definitions import Tenant
from realm.server.store import TenantStore
from realm.server.store.migrations import MIGRATIONS, migrate
from realm.server.store.tables import METADATA


@pytest.fixture
def path(tmp_path):
    return tmp_path / "realm.db"


def open_store(path):
    return TenantStore(f"sqlite:///{path}")


def make_version_1(path):
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrate(connection, 1)
    engine.dispose()
    database = sqlite3.connect(path)
    database.execute("INSERT INTO realm_tenant VALUES ('acme', '{\"tenant_id\":\"acme\"}')")
    row = ("realm_aaaaaaaa", "acme", "ab" * 32, 5.0, True)
    database.execute("INSERT INTO realm_key VALUES (?, ?, ?, ?, ?)", row)
    database.commit()
    database.close()


def query(path, statement):
    database = sqlite3.connect(path)
    try:
        return database.execute(statement).fetchall()
    finally:
        database.close()


def test_version_1_is_upgraded_with_all_that_is_in_it(path):
    make_version_1(path)
    with open_store(path) as store:
        snapshot = store.snapshot()
        assert snapshot.tenants == (Tenant("acme"),)
        (stored,) = snapshot.keys
        assert (stored.key.prefix, stored.key.note, stored.key.expires_at, stored.digest) == (
            "realm_aaaaaaaa", "", None, b"\xab" * 32,
        )  # fmt: skip
        key, _ = store.create_key("acme", expires_at=9.0, note="new")
        assert store.keys()[-1] == key
    assert query(path, "SELECT version FROM realm_schema") == [(len(MIGRATIONS),)]


def test_interrupted_upgrade_leaves_the_old_version(path, monkeypatch):
    make_version_1(path)
    broken = (*MIGRATIONS[:-1], (*MIGRATIONS[-1], "ALTER TABLE nowhere ADD COLUMN x INTEGER"))
    monkeypatch.setattr("realm.server.store.migrations.MIGRATIONS", broken)
    with pytest.raises(TenantStoreError, match="nowhere"):
        open_store(path)
    monkeypatch.undo()
    assert query(path, "SELECT version FROM realm_schema") == [(1,)]
    assert len(query(path, "PRAGMA table_info(realm_key)")) == 5
    with open_store(path) as store:
        (key,) = store.keys()
        assert key.prefix == "realm_aaaaaaaa"


def test_newer_version_is_refused_and_untouched(path):
    open_store(path).close()
    database = sqlite3.connect(path)
    database.execute("UPDATE realm_schema SET version = 99")
    database.commit()
    database.close()
    with pytest.raises(TenantStoreError, match="version 99, made by a newer Realm"):
        open_store(path)
    assert query(path, "SELECT version FROM realm_schema") == [(99,)]


def test_database_of_something_else_is_refused_and_untouched(path):
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE photographs (x)")
    database.commit()
    database.close()
    with pytest.raises(TenantStoreError, match="something else"):
        open_store(path)
    assert query(path, "SELECT name FROM sqlite_master") == [("photographs",)]


def test_migrations_make_the_tables_that_are_used(path):
    open_store(path).close()
    engine = create_engine(f"sqlite:///{path}")
    found = inspect(engine)
    assert set(found.get_table_names()) == {*METADATA.tables, "realm_schema"}
    for table in METADATA.sorted_tables:
        made = {each["name"]: each for each in found.get_columns(table.name)}
        assert set(made) == set(table.columns.keys())
        for column in table.columns:
            assert made[column.name]["nullable"] == column.nullable, column
            assert bool(made[column.name]["primary_key"]) == column.primary_key, column
            kind, wanted = made[column.name]["type"], column.type
            assert kind.python_type is wanted.python_type, column
            assert getattr(kind, "length", None) == getattr(wanted, "length", None), column
    engine.dispose()
