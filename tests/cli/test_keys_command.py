"""`realm keys`: create, list, disable, enable, remove, and what is refused."""

import json
import time

import pytest

from realm.errors import UnauthorizedError
from realm.server.definitions import Tenant
from realm.server.front.directory import Directory
from realm.server.store import TenantStore


@pytest.fixture
def store(tmp_path):
    with TenantStore(f"sqlite:///{tmp_path / 'realm.db'}") as opened:
        opened.put_tenant(Tenant("acme"))
        yield opened


@pytest.fixture
def directory(store):
    return Directory(store, [], keys_required=True, wall_clock=time.time)


@pytest.fixture
def keys(realm, store):
    def call(*words):
        return realm("keys", *words, "--database", store.name)

    return call


def test_a_running_directory_follows(keys, directory):
    created = keys("create", "--tenant", "acme", "--note", "laptop")
    assert created.code == 0, created.stderr
    secret = created.stdout.strip()
    assert secret not in created.stderr
    prefix = secret[: len("realm_") + 8]
    assert directory.refresh()
    assert directory.authenticate(f"Bearer {secret}").tenant == Tenant("acme")
    assert keys("disable", prefix).stdout == f"disabled {prefix}\n"
    directory.refresh()
    with pytest.raises(UnauthorizedError):
        directory.authenticate(f"Bearer {secret}")
    assert keys("enable", prefix).stdout == f"enabled {prefix}\n"
    directory.refresh()
    assert directory.authenticate(f"Bearer {secret}").key_prefix == prefix
    assert keys("remove", prefix).stdout == f"removed {prefix}\n"
    directory.refresh()
    with pytest.raises(UnauthorizedError):
        directory.authenticate(f"Bearer {secret}")


def test_list_never_shows_secrets(keys, store):
    store.put_tenant(Tenant("other"))
    made = [
        json.loads(keys("create", *words, "--json").stdout)
        for words in (["--admin"], ["--tenant", "acme", "--expires-days", "2"])
    ]
    store.create_key("other")
    store.create_key("acme", expires_at=5.0, note="old")
    store.create_key("acme", expires_at=1e300)
    listed = keys("list")
    assert listed.code == 0
    rows = listed.stdout.splitlines()
    assert len(rows) == 6
    assert sum("(admin)" in row for row in rows) == 1
    assert sum("expired" in row and "1970-01-01 00:00" in row for row in rows) == 1
    both = listed.stdout + keys("list", "--json").stdout
    assert all(each["key"] not in both and each["prefix"] in both for each in made)
    own = json.loads(keys("list", "--tenant", "acme", "--json").stdout)["keys"]
    assert {each["tenant_id"] for each in own} == {"acme"}
    assert len(own) == 3


def test_expiry_is_counted_from_now(keys):
    before = time.time()
    made = json.loads(keys("create", "--admin", "--expires-days", "3", "--json").stdout)
    assert before + 3 * 86400 <= made["expires_at"] <= time.time() + 3 * 86400
    assert made["key"].startswith("realm_admin_")
    assert made["tenant_id"] is None


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["create", "--tenant", "nobody"], 1, "no tenant 'nobody'"),
        (["create", "--tenant", "' OR 1=1"], 1, "no tenant"),
        (["create", "--tenant", "\udcff"], 1, "no tenant"),
        (["create", "--admin", "--note", "x" * 201], 1, "a note has up to 200"),
        (["create", "--admin", "--note", "\x1b[2J"], 1, "a note has up to 200"),
        (["create"], 2, ""),
        (["create", "--tenant", "acme", "--admin"], 2, ""),
        (["create", "--admin", "--expires-days", "0"], 2, ""),
        (["create", "--admin", "--expires-days", "1000000"], 2, ""),
        (["create", "--admin", "--expires-days", "soon"], 2, ""),
        (["list", "--tenant", "nobody"], 1, "no tenant 'nobody'"),
        (["disable", "realm_aaaaaaaa"], 1, "no key of this prefix"),
        (["enable", "%"], 1, "no key of this prefix"),
        (["remove", "'; DROP TABLE realm_key"], 1, "no key of this prefix"),
        (["remove", "\udcff"], 1, "no key of this prefix"),
        (["remove"], 2, ""),
    ],
)
def test_refused(keys, store, words, code, message):
    before = store.snapshot()
    outcome = keys(*words)
    assert outcome.code == code
    assert outcome.stdout == ""
    assert message in outcome.stderr
    assert store.snapshot() == before
