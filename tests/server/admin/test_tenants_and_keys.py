"""/admin/tenants and /admin/keys, on a real database."""

import logging

import pytest
from sqlalchemy import create_engine, text
from tests.server.admin.admin_front import admin_front, bearer

from realm.errors import ConfigError, EngineUnavailableError
from realm.server.definitions import Limits, Tenant


@pytest.fixture
def front(tmp_path):
    with admin_front(tmp_path) as made:
        yield made


def test_a_tenant_from_its_making_to_its_end(front):
    made = front.ask("PUT", "/admin/tenants/acme", json={"weight": 2.0, "models": ["small"]})
    assert made.status_code == 201
    assert made.json()["weight"] == 2.0
    assert made.json()["limits"]["max_tokens"] is None
    assert front.engine.told == [("put_tenant", Tenant("acme", models=("small",), weight=2.0))]
    changed = front.ask("PUT", "/admin/tenants/acme", json={"priority": 3})
    assert changed.status_code == 200
    assert front.ask("GET", "/admin/tenants/acme").json() == changed.json()
    assert changed.json()["weight"] == 1.0
    assert front.store.snapshot().tenants == (Tenant("acme", priority=3),)
    assert front.ask("DELETE", "/admin/tenants/acme").status_code == 204
    assert front.engine.told[-1] == ("remove_tenant", "acme")
    assert front.ask("GET", "/admin/tenants/acme").status_code == 404
    assert front.ask("DELETE", "/admin/tenants/acme").status_code == 404
    assert front.store.snapshot().tenants == ()


def test_a_patch_changes_what_it_names_and_null_sets_back(front):
    body = {"weight": 2.0, "limits": {"max_tokens": 5, "requests_per_minute": 7}}
    front.ask("PUT", "/admin/tenants/acme", json=body)
    patch = {"limits": {"max_tokens": None, "tokens_per_minute": 9}, "is_enabled": False}
    assert front.ask("PATCH", "/admin/tenants/acme", json=patch).status_code == 200
    limits = Limits(requests_per_minute=7, tokens_per_minute=9)
    expected = Tenant("acme", weight=2.0, limits=limits, is_enabled=False)
    assert front.store.snapshot().tenants == (expected,)
    assert front.ask("PATCH", "/admin/tenants/acme", json={"weight": None}).json()["weight"] == 1.0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"wieght": 1}, "wieght"),
        ({"weight": 0}, "weight"),
        ({"weight": "1"}, "weight"),
        ({"limits": {"max_tokens": -1}}, "limits.max_tokens"),
        ({"limits": {"tokens": 1}}, "limits.tokens"),
        ({"limits": []}, "limits"),
        ({"adapter": "a:b"}, "adapter"),
        ({"models": ["a/b"]}, "models[0]"),
        ({"drafts": {"../x": "d"}}, "drafts"),
        ({"tenant_id": "other"}, "tenant_id"),
        ({"is_enabled": 1}, "is_enabled"),
    ],
)
def test_a_wrong_field_is_named_and_nothing_changes(front, body, field):
    for method in ("PUT", "PATCH"):
        if method == "PATCH":
            front.ask("PUT", "/admin/tenants/acme", json={})
        before = front.store.snapshot()
        answer = front.ask(method, "/admin/tenants/acme", json=body)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"].startswith(field)
        assert front.store.snapshot() == before


@pytest.mark.parametrize("name", ["a b", "%0a", "a" * 65, ".x", "-x", "%2e%2e", "ä", "x';--"])
def test_what_no_tenant_may_be_called(front, name):
    assert front.ask("PUT", f"/admin/tenants/{name}", json={}).status_code in (400, 404)
    assert front.store.snapshot().tenants == ()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff", b"1", b'{"weight": 1e999}', b"[" * 9999]
)
def test_bodies_that_are_no_object(front, body):
    assert front.ask("PUT", "/admin/tenants/acme", content=body).status_code == 400
    assert front.store.snapshot().tenants == ()


def test_the_list_has_pages(front):
    for name in ("c", "a", "b"):
        front.ask("PUT", f"/admin/tenants/{name}", json={})
    first = front.ask("GET", "/admin/tenants?limit=2").json()
    assert ([each["tenant_id"] for each in first["data"]], first["has_more"]) == (["a", "b"], True)
    rest = front.ask("GET", "/admin/tenants?after=b").json()
    assert ([each["tenant_id"] for each in rest["data"]], rest["has_more"]) == (["c"], False)
    for limit in ("0", "-1", "x", "1001", "9" * 30, "%EF%BC%91"):
        assert front.ask("GET", f"/admin/tenants?limit={limit}").status_code == 400


def test_what_the_engine_refuses_is_not_kept(front):
    async def refuse(tenant):
        raise ConfigError("memory_bytes must be less")

    front.engine.put_tenant = refuse
    answer = front.ask("PUT", "/admin/tenants/acme", json={})
    assert (answer.status_code, answer.json()["error"]["message"]) == (
        400,
        "memory_bytes must be less",
    )
    assert front.store.snapshot().tenants == ()


def test_tenants_change_without_an_engine_too(front):
    async def away(tenant):
        raise EngineUnavailableError("away")

    front.engine.put_tenant = away
    assert front.ask("PUT", "/admin/tenants/acme", json={}).status_code == 201
    assert front.store.snapshot().tenants == (Tenant("acme"),)


def test_a_locked_database_is_a_503_and_the_engine_is_told_what_held_before(front, tmp_path):
    headers = front.tenant("acme")
    engine = create_engine(f"sqlite:///{tmp_path / 'realm.db'}")
    with engine.connect() as other:
        other.execute(text("BEGIN IMMEDIATE"))
        answer = front.ask("PUT", "/admin/tenants/acme", json={"weight": 5})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert front.engine.told[-2:] == [
            ("put_tenant", Tenant("acme", weight=5)),
            ("put_tenant", Tenant("acme")),
        ]
        assert front.ask("PUT", "/admin/tenants/new", json={}).status_code == 503
        assert front.engine.told[-1] == ("remove_tenant", "new")
        assert front.client.get("/v1/models", headers=headers).status_code == 200
        other.rollback()
    engine.dispose()
    assert front.ask("PUT", "/admin/tenants/acme", json={"weight": 5}).status_code == 200


def test_a_key_is_shown_once_and_opens_until_it_is_off(front):
    front.ask("PUT", "/admin/tenants/acme", json={})
    made = front.ask("POST", "/admin/tenants/acme/keys", json={"note": "for the app"})
    assert made.status_code == 201
    secret, prefix = made.json()["key"], made.json()["prefix"]
    own = bearer(secret)
    assert front.client.get("/v1/models", headers=own).status_code == 200
    listed = front.ask("GET", "/admin/tenants/acme/keys")
    assert [key["note"] for key in listed.json()["data"]] == ["for the app"]
    assert secret not in listed.text + front.ask("GET", "/admin/keys").text
    for is_enabled, status in ((False, 401), (True, 200)):
        change = front.ask("PATCH", f"/admin/keys/{prefix}", json={"is_enabled": is_enabled})
        assert change.status_code == 204
        assert front.client.get("/v1/models", headers=own).status_code == status
    assert front.ask("DELETE", f"/admin/keys/{prefix}").status_code == 204
    assert front.client.get("/v1/models", headers=own).status_code == 401
    assert front.ask("DELETE", f"/admin/keys/{prefix}").status_code == 404
    missing = front.ask("PATCH", f"/admin/keys/{prefix}", json={"is_enabled": True})
    assert missing.status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {"note": 1},
        {"note": "x" * 201},
        {"note": "two\nlines"},
        {"expires_in_seconds": 0},
        {"expires_in_seconds": "1"},
        {"expires_at": 5},
        [],
    ],
)
def test_keys_that_cannot_be_made(front, body):
    front.ask("PUT", "/admin/tenants/acme", json={})
    assert front.ask("POST", "/admin/tenants/acme/keys", json=body).status_code == 400
    assert front.ask("POST", "/admin/tenants/none/keys", json={}).status_code == 404


def test_an_admin_key_made_by_an_admin_is_one(front):
    secret = front.ask("POST", "/admin/keys", json={}).json()["key"]
    assert front.client.get("/admin/tenants", headers=bearer(secret)).status_code == 200


def test_nobody_but_admins_administers(front):
    own = front.tenant("acme")
    for method, path in (
        ("GET", "/admin/tenants"),
        ("PUT", "/admin/tenants/acme"),
        ("DELETE", "/admin/tenants/acme"),
        ("POST", "/admin/keys"),
        ("GET", "/admin/keys"),
        ("PUT", "/admin/adapters/x"),
        ("PUT", "/admin/tenants/acme/drafts/x"),
    ):
        for headers in (own, {}, {"Authorization": "Bearer x"}, {"Authorization": "Basic eDp5"}):
            assert front.client.request(method, path, headers=headers).status_code == 401
    assert front.client.get("/v1/adapters", headers=front.admin).status_code == 401


def test_the_audit_log_tells_who_and_what_and_no_secret(front, caplog):
    with caplog.at_level(logging.INFO, "realm.server.audit"):
        front.ask("PUT", "/admin/tenants/acme", json={})
        secret = front.ask("POST", "/admin/tenants/acme/keys", json={}).json()["key"]
    lines = [(record.getMessage(), record.by, record.owner) for record in caplog.records]
    assert lines == [("tenant put", "admin", "acme"), ("key created", "admin", "acme")]
    told = " ".join(str(vars(record)) for record in caplog.records)
    assert secret not in told
    assert front.admin["Authorization"].removeprefix("Bearer ") not in told
