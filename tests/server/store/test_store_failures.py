"""Databases that are locked, full, cut, foreign or gone: a TenantStoreError, and nothing half."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import event

from realm.errors import TenantStoreError
from realm.server.definitions import Tenant
from realm.server.store import TenantStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "realm.db"


@pytest.fixture
def url(path):
    return f"sqlite:///{path}"


@pytest.fixture
def store(url):
    with TenantStore(url, busy_seconds=0.05) as opened:
        opened.put_tenant(Tenant("acme"))
        yield opened


def test_locked_database_is_told_and_works_again(store, path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    before = store.snapshot()
    for write in (
        lambda: store.put_tenant(Tenant("other")),
        lambda: store.remove_tenant("acme"),
        lambda: store.create_key("acme"),
    ):
        with pytest.raises(TenantStoreError, match="database is locked"):
            write()
    assert store.snapshot() == before
    other.execute("ROLLBACK")
    other.close()
    store.put_tenant(Tenant("other"))
    assert len(store.snapshot().tenants) == 2


def test_database_locked_while_it_is_opened(store, path, url):
    store.close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TenantStoreError, match="locked"):
        TenantStore(url, busy_seconds=0.05)
    other.close()
    TenantStore(url).close()


def test_statement_that_fails_takes_back_the_whole_transaction(store):
    store.create_key("acme")
    before = store.snapshot()

    def fail(connection, cursor, statement, *unused):
        if statement.startswith("DELETE FROM realm_tenant"):
            raise RuntimeError("now")

    event.listen(store._database._engine, "before_cursor_execute", fail)
    with pytest.raises(RuntimeError, match="now"):
        store.remove_tenant("acme")
    event.remove(store._database._engine, "before_cursor_execute", fail)
    assert store.snapshot() == before
    store.remove_tenant("acme")


def test_process_that_dies_in_the_middle_of_a_write(store, url):
    store.create_key("acme")
    before = store.snapshot()
    script = """
import os, sys
from sqlalchemy import event
from realm.server.store import TenantStore
store = TenantStore(sys.argv[1])
def die(connection, cursor, statement, *unused):
    if statement.startswith("DELETE FROM realm_tenant"):
        os._exit(7)
event.listen(store._database._engine, "before_cursor_execute", die)
store.remove_tenant("acme")
"""
    assert subprocess.run([sys.executable, "-c", script, url], check=False).returncode == 7
    assert store.snapshot() == before
    store.create_key("acme")
    assert len(store.keys()) == 2


def test_full_disk(store, url):
    """The file may not grow: what the operating system says of a quota or a full disk."""
    before = store.snapshot()
    script = """
import resource, sys
from realm.errors import TenantStoreError
from realm.server.definitions import Tenant
from realm.server.store import TenantStore
store = TenantStore(sys.argv[1])
size = 4096 * 40
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    for number in range(100000):
        store.put_tenant(Tenant(f"t{number}", tuple("m" * 90 + str(i) for i in range(100))))
except TenantStoreError as error:
    written = len(store.snapshot().tenants)
    assert written == number + 1, (written, number)  # acme besides
    print("refused", error)
    sys.exit(0)
"""
    process = subprocess.run(
        [sys.executable, "-c", script, url], capture_output=True, text=True, check=False
    )
    assert process.stdout.startswith("refused"), process.stderr
    assert before.tenants[0] in store.snapshot().tenants
    store.put_tenant(Tenant("zz"))


def test_file_that_is_no_database(path, url):
    path.write_bytes(b"GGUF and other things" * 1000)
    with pytest.raises(TenantStoreError, match="file is not a database"):
        TenantStore(url)
    assert path.read_bytes() == b"GGUF and other things" * 1000


def test_damaged_file(store, path, url):
    for number in range(200):
        store.put_tenant(Tenant(f"t{number}", tuple(f"m{each}" for each in range(20))))
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"\xa5" * (size - 4096))
    with pytest.raises(TenantStoreError, match="malformed"):
        TenantStore(url).snapshot()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE realm_tenant SET definition = '{'", "tenant 'acme' cannot be read"),
        ("UPDATE realm_tenant SET definition = x'ff'", "cannot be read"),
        ("UPDATE realm_key SET digest = 'zz'", "key 'realm_.*' cannot be read"),
        ("DELETE FROM realm_meta", "No row was found"),
        ("DROP TABLE realm_key", "no such table"),
    ],
)
def test_damaged_rows(store, path, change, message):
    store.create_key("acme")
    other = sqlite3.connect(path)
    other.execute(change)
    other.commit()
    other.close()
    with pytest.raises(TenantStoreError, match=message):
        store.snapshot()


def test_places_where_no_database_can_be(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "realm.db", Path("/proc/nowhere/realm.db")):
        with pytest.raises(TenantStoreError):
            TenantStore(f"sqlite:///{path}")
    with pytest.raises(TenantStoreError):
        TenantStore(f"sqlite:///{tmp_path}/a\0b")


@pytest.mark.parametrize("url", ["", "realm.db", "nothing://x/y", "sqlite:///f.db?uri=true", "://"])
def test_urls_that_are_none(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TenantStoreError):
        TenantStore(url)
    assert list(tmp_path.iterdir()) == []


def test_password_is_in_no_message():
    with pytest.raises(TenantStoreError) as caught:
        TenantStore("postgresql+nodriver://realm:hunter2@127.0.0.1:1/realm")
    assert "hunter2" not in str(caught.value)


def test_file_that_was_removed_or_replaced_takes_nothing_more(store, path, url, tmp_path):
    before = store.snapshot()
    away = tmp_path / "away"
    path.rename(away)
    for act in (store.revision, store.snapshot, lambda: store.put_tenant(Tenant("lost"))):
        with pytest.raises(TenantStoreError, match="removed or replaced"):
            act()
    assert not path.exists()
    path.write_bytes(away.read_bytes())
    with pytest.raises(TenantStoreError, match="removed or replaced"):
        store.create_key("acme")
    away.rename(path)
    assert store.snapshot() == before
    store.put_tenant(Tenant("kept"))
    store.close()
    with TenantStore(url) as opened:
        assert [tenant.tenant_id for tenant in opened.snapshot().tenants] == ["acme", "kept"]


def test_file_that_was_written_over_takes_nothing_more(store, path):
    noise = b"noise" * (path.stat().st_size // 5)
    path.write_bytes(noise)
    for act in (store.revision, lambda: store.put_tenant(Tenant("lost"))):
        with pytest.raises(TenantStoreError, match="not a database"):
            act()
    assert path.read_bytes() == noise
