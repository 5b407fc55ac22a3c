"""`realm tenants`: add, list, show, set, remove, and what is refused."""

import json
import subprocess
import sys

import pytest

from realm.server.definitions import Limits, Tenant
from realm.server.store import TenantStore


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'realm.db'}"


@pytest.fixture
def tenants(realm, url):
    def call(*words):
        return realm("tenants", *words, "--database", url)

    return call


def kept(url):
    with TenantStore(url) as store:
        return store.snapshot().tenants


def test_add_list_show_set_remove(tenants, url):
    terms = (
        "--models", "tiny,big", "--adapter", "french", "--program", "guard",
        "--draft", "tiny=small", "--limit", "tokens_per_minute=1000",
        "--limit", "wall_seconds=2.5", "--weight", "2", "--priority", "-3",
    )  # fmt: skip
    added = tenants("add", "acme", *terms)
    assert (added.code, added.stdout) == (0, "added acme\n"), added.stderr
    limits = Limits(tokens_per_minute=1000, wall_seconds=2.5)
    assert kept(url) == (
        Tenant("acme", ("tiny", "big"), "french", "guard", {"tiny": "small"}, limits, 2.0, -3),
    )
    row = tenants("list").stdout.splitlines()[1].split("  ")
    assert [cell.strip() for cell in row if cell] == [
        "acme", "enabled", "0", "tiny, big", "french", "guard", "2", "-3",
    ]  # fmt: skip
    shown = tenants("show", "acme").stdout
    assert "draft for tiny" in shown
    assert "limit tokens_per_minute  1,000" in shown
    changed = tenants(
        "set", "acme", "--models", "", "--adapter", "", "--draft", "tiny=", "--weight", "",
        "--limit", "tokens_per_minute=", "--limit", "max_tokens=7", "--disable",
    )  # fmt: skip
    assert changed.stdout == "changed acme\n", changed.stderr
    (tenant,) = kept(url)
    limits = Limits(max_tokens=7, wall_seconds=2.5)
    assert tenant == Tenant("acme", program="guard", limits=limits, priority=-3, is_enabled=False)
    tenants("set", "acme", "--enable")
    assert kept(url)[0].is_enabled
    assert tenants("remove", "acme").stdout == "removed acme\n"
    assert kept(url) == ()


def test_json(tenants):
    added = json.loads(tenants("add", "acme", "--weight", "2", "--json").stdout)
    assert (added["tenant_id"], added["weight"], added["models"]) == ("acme", 2.0, None)
    assert added["limits"]["max_tokens"] is None
    assert json.loads(tenants("list", "--json").stdout) == {"tenants": [added]}
    assert json.loads(tenants("show", "acme", "--json").stdout) == added
    changed = json.loads(tenants("set", "acme", "--disable", "--json").stdout)
    assert changed == added | {"is_enabled": False}
    assert json.loads(tenants("remove", "acme", "--json").stdout) == changed


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["add", "acme"], 1, "there is a tenant 'acme' already"),
        (["add", "../x"], 1, "a tenant's id has up to 64"),
        (["add", ""], 1, "a tenant's id has up to 64"),
        (["add", "'; DROP TABLE realm_tenant"], 1, "a tenant's id has up to 64"),
        (["set", "\udcff", "--enable"], 1, "no tenant"),
        (["show", "nobody"], 1, "no tenant 'nobody'"),
        (["set", "nobody", "--enable"], 1, "no tenant 'nobody'"),
        (["remove", "nobody"], 1, "no tenant 'nobody'"),
        (["set", "acme", "--weight", "heavy"], 1, "weight: "),
        (["set", "acme", "--weight", "nan"], 1, "weight: "),
        (["set", "acme", "--weight", "-1"], 1, "weight: "),
        (["set", "acme", "--priority", "1.5"], 1, "priority: "),
        (["set", "acme", "--models", "a/b"], 1, "models"),
        (["set", "acme", "--limit", "speed=1"], 1, "no limit is called 'speed'"),
        (["set", "acme", "--limit", "max_tokens=0"], 1, "limits.max_tokens: "),
        (["set", "acme", "--limit", "max_tokens=9" + "9" * 5000], 1, "limits.max_tokens: "),
        (["set", "acme", "--limit", "max_tokens"], 2, ""),
        (["set", "acme", "--enable", "--disable"], 2, ""),
        (["fly"], 2, ""),
        (["add"], 2, ""),
    ],
)
def test_refused(tenants, url, words, code, message):
    tenants("add", "acme")
    before = kept(url)
    outcome = tenants(*words)
    assert outcome.code == code
    assert message in outcome.stderr
    assert outcome.stderr.count("\n") <= 1
    assert kept(url) == before


def test_where_the_database_is(realm, tmp_path, monkeypatch):
    monkeypatch.delenv("REALM_SERVER_DATABASE_URL", raising=False)
    monkeypatch.setenv("REALM_HOME", str(tmp_path / "home ?#%"))
    assert realm("tenants", "add", "acme").code == 0
    assert (tmp_path / "home ?#%" / "server" / "realm.db").stat().st_size > 0
    monkeypatch.setenv("REALM_SERVER_DATABASE_URL", f"sqlite:///{tmp_path / 'other.db'}")
    assert json.loads(realm("tenants", "list", "--json").stdout) == {"tenants": []}


def test_database_that_cannot_be_used(realm, tmp_path):
    (tmp_path / "x.db").write_bytes(b"no database" * 1000)
    outcome = realm("tenants", "list", "--database", f"sqlite:///{tmp_path / 'x.db'}")
    assert outcome.code == 1
    assert "file is not a database" in outcome.stderr


@pytest.mark.parametrize("command", ["tenants", "keys"])
@pytest.mark.parametrize("missing", ["msgspec", "sqlalchemy"])
def test_without_the_extra(command, missing):
    script = (
        f"import sys; sys.modules[{missing!r}] = None; from realm.cli.main import main; "
        f"raise SystemExit(main([{command!r}, 'list']))"
    )
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert process.returncode == 1
    assert "pip install 'realm[server]'" in process.stderr
    assert "Traceback" not in process.stderr
