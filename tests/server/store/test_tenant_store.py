"""What the store keeps, and what it refuses."""

import stat

import pytest

from realm.errors import ConfigError, RequestError, TenantStoreError
from realm.server.definitions import Item, Limits, Tenant
from realm.server.store import TenantStore
from realm.server.store.key_secret import digest_of, prefix_of

ACME = Tenant(
    "acme", ("tiny",), "french", "guard", {"tiny": "small"}, Limits(max_tokens=5), 2.5, -3, False
)
FRENCH = Item("french", "acme", "ab" * 32, 123, "/data/french")
HOSTILE_NAMES = [
    "", " ", "'; DROP TABLE realm_tenant; --", '" OR 1=1', "../etc", "a/b", "a:b", "%", "_",
    "acme\n", "acme\0", "\uff41cme", "é", "\ud800", "x" * 65, "x" * 1_000_000,
]  # fmt: skip


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'kept' / 'realm.db'}"


@pytest.fixture
def store(url):
    with TenantStore(url, wall_clock=lambda: 1000.0) as opened:
        yield opened


def test_everything_is_there_again_after_reopening(store, url):
    everyones = Item("french", None, "cd" * 32, 7, "/data/everyone")
    store.put_tenant(ACME)
    key, secret = store.create_key("acme", expires_at=2000.5, note="laptop")
    admin, _ = store.create_key(None)
    store.put_item("adapter", FRENCH)
    store.put_item("adapter", everyones)
    store.set_key_enabled(admin.prefix, False)
    store.close()
    with TenantStore(url) as again:
        snapshot = again.snapshot()
    assert snapshot.tenants == (ACME,)
    assert snapshot.items == {"adapter": (everyones, FRENCH), "program": (), "draft": ()}
    found = {stored.key.prefix: stored for stored in snapshot.keys}
    assert found[key.prefix].key == key
    assert (key.tenant_id, key.created_at, key.expires_at, key.note) == (
        "acme", 1000.0, 2000.5, "laptop",
    )  # fmt: skip
    assert found[key.prefix].digest == digest_of(secret)
    assert not found[admin.prefix].key.is_enabled
    assert found[admin.prefix].key.tenant_id is None


def test_every_write_raises_the_revision(store):
    seen = [store.revision()]

    def wrote(*unused):
        seen.append(store.revision())
        assert seen[-1] > seen[-2]
        assert store.snapshot().revision == seen[-1]

    wrote(store.put_tenant(ACME))
    key, _ = store.create_key("acme")
    wrote()
    wrote(store.set_key_enabled(key.prefix, False))
    wrote(store.remove_key(key.prefix))
    wrote(store.put_item("program", FRENCH))
    wrote(store.remove_item("program", "french", "acme"))
    wrote(store.remove_tenant("acme"))


def test_what_is_refused_changes_nothing(store):
    store.put_tenant(ACME)
    before = store.snapshot()
    refused = [
        (RequestError, lambda: store.remove_tenant("other")),
        (RequestError, lambda: store.create_key("other")),
        (RequestError, lambda: store.set_key_enabled("realm_aaaaaaaa", True)),
        (RequestError, lambda: store.remove_key("realm_aaaaaaaa")),
        (RequestError, lambda: store.remove_item("adapter", "french", "acme")),
        (RequestError, lambda: store.remove_item("adapter", "french", "")),
        (RequestError, lambda: store.put_item("adapter", Item("a", "other", "", 0, "/x"))),
        (ConfigError, lambda: store.put_item("virus", FRENCH)),
        (ConfigError, lambda: store.remove_item("virus", "french", None)),
        (ConfigError, lambda: store.put_item("adapter", Item("a", None, "", 0, "/\ud800"))),
        (ConfigError, lambda: store.put_tenant(Tenant("acme", weight=float("nan")))),
        (ConfigError, lambda: store.put_tenant(Tenant("acme", weight=-1.0))),
        (ConfigError, lambda: store.put_tenant(Tenant("acme", limits=None))),
        (ConfigError, lambda: store.create_key(None, note="x" * 201)),
        (ConfigError, lambda: store.create_key(None, note="\x1b[2J")),
        (ConfigError, lambda: store.create_key(None, note="\ud800")),
        (ConfigError, lambda: store.create_key(None, expires_at=float("nan"))),
        (TenantStoreError, lambda: store.put_item("draft", Item("a", None, "", 1 << 63, "/x"))),
    ]
    for error, act in refused:
        with pytest.raises(error):
            act()
        assert store.snapshot() == before


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_hostile_names(store, name):
    store.put_tenant(ACME)
    before = store.snapshot()
    with pytest.raises(ConfigError):
        store.put_tenant(Tenant(name))
    with pytest.raises(ConfigError):
        store.put_item("adapter", Item(name + "!", "acme", "", 0, "/x"))
    for act in (store.remove_tenant, store.create_key, store.remove_key):
        with pytest.raises(RequestError):
            act(name)
    with pytest.raises(RequestError):
        store.remove_item("adapter", "french", name)
    assert store.snapshot() == before


def test_removing_a_tenant_takes_its_keys_and_items_and_nobody_elses(store):
    for name in ("acme", "acme2"):
        store.put_tenant(Tenant(name))
        store.create_key(name)
        store.put_item("draft", Item("d", name, "", 0, "/x"))
    store.put_item("draft", Item("d", None, "", 0, "/x"))
    store.create_key(None)
    store.remove_tenant("acme")
    snapshot = store.snapshot()
    assert [tenant.tenant_id for tenant in snapshot.tenants] == ["acme2"]
    assert {stored.key.tenant_id for stored in snapshot.keys} == {"acme2", None}
    assert [item.tenant_id for item in snapshot.items["draft"]] == [None, "acme2"]


def test_names_differ_by_case(store):
    store.put_tenant(Tenant("acme"))
    store.put_tenant(Tenant("Acme", weight=2.0))
    assert [(each.tenant_id, each.weight) for each in store.snapshot().tenants] == [
        ("Acme", 2.0),
        ("acme", 1.0),
    ]


def test_change_of_a_tenant_is_one_write(store):
    store.put_tenant(Tenant("acme", weight=2.0))
    changed = store.change_tenant("acme", lambda before: Tenant("acme", weight=before.weight + 1))
    assert store.snapshot().tenants == (changed,) == (Tenant("acme", weight=3.0),)
    with pytest.raises(ConfigError):
        store.change_tenant("acme", lambda before: Tenant("other"))
    assert store.change_tenant("new", lambda before: Tenant("new", adapter=before)).adapter is None
    assert len(store.snapshot().tenants) == 2


def test_only_its_owner_may_read_the_files(store, tmp_path):
    store.put_tenant(ACME)
    folder = tmp_path / "kept"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == dict.fromkeys(["realm.db", "realm.db-wal", "realm.db-shm"], 0o600)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_wider_file_is_made_narrow(store, url, tmp_path):
    store.close()
    path = tmp_path / "kept" / "realm.db"
    path.chmod(0o644)
    TenantStore(url).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_no_secret_reaches_the_disk(store, tmp_path):
    store.put_tenant(ACME)
    secrets = [store.create_key(owner)[1] for owner in ("acme", None)]
    content = b"".join(path.read_bytes() for path in (tmp_path / "kept").iterdir())
    for secret in secrets:
        assert prefix_of(secret).encode() in content
        assert secret.encode() not in content
        assert secret[-43:].encode() not in content


def test_database_in_memory():
    with TenantStore("sqlite://") as store:
        store.put_tenant(ACME)
        assert store.snapshot().tenants == (ACME,)


def test_closed_store(store):
    store.close()
    store.close()
    with pytest.raises(TenantStoreError, match="closed"):
        store.revision()


def test_ten_thousand_tenants(store):
    # One of them costs a transaction; so many are written as the store itself writes them.
    for number in range(20):
        store.put_tenant(Tenant(f"t{number}", limits=Limits(max_tokens=number + 1)))
    with store._database.writing() as connection:
        connection.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 20 UNION ALL SELECT i + 1 FROM n WHERE i < 9999) "
            "INSERT INTO realm_tenant SELECT 't' || i, '{\"tenant_id\":\"t' || i || '\"}' FROM n"
        )
    snapshot = store.snapshot()
    assert len(snapshot.tenants) == 10_000
    assert Tenant("t9999") in snapshot.tenants


def test_a_reading_during_which_others_wrote_is_repeated(store, monkeypatch):
    """As on databases where each statement of a reading sees what was written before it."""
    store.put_tenant(ACME)
    told = iter([1, 2, 2, 3, 3, 3])
    monkeypatch.setattr("realm.server.store.tenant_store._revision", lambda _: next(told))
    assert store.snapshot().revision == 3
    assert next(told, None) is None
    endless = iter(range(1_000_000))
    monkeypatch.setattr("realm.server.store.tenant_store._revision", lambda _: next(endless))
    with pytest.raises(TenantStoreError, match="changes faster"):
        store.snapshot()
