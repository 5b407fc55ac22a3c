"""Changes that meet others': of another process, of a new engine, of many tenants at once."""

from __future__ import annotations

import asyncio

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from tests.server.admin.admin_front import admin_front

from realm.errors import EngineUnavailableError
from realm.server.definitions import Limits, Tenant
from realm.server.front.admin.content import ContentFolder
from realm.server.front.admin.upload import UploadDesk
from realm.server.front.engine_follower import EngineFollower
from realm.server.store import TenantStore

PATH = "/admin/tenants/acme"


@pytest.fixture
def front(tmp_path):
    with admin_front(tmp_path) as made:
        yield made


def once_told(front, monkeypatch, action):
    """The action happens when the engine is told of a tenant, which is before the store is."""
    put, waiting = front.engine.put_tenant, [action]

    async def told(tenant):
        await put(tenant)
        if waiting:
            waiting.pop()()

    monkeypatch.setattr(front.engine, "put_tenant", told)


def test_a_patch_and_what_another_process_sets_meanwhile_both_hold(front, monkeypatch):
    front.ask("PUT", PATH, json={"limits": {"max_tokens": 5}})
    with TenantStore(front.services.settings.database_url) as other:
        limits = Limits(max_tokens=5, requests_per_minute=9)
        once_told(front, monkeypatch, lambda: other.put_tenant(Tenant("acme", limits=limits)))
        answer = front.ask("PATCH", PATH, json={"weight": 3.0})
    assert answer.status_code == 200
    expected = Tenant("acme", limits=limits, weight=3.0)
    assert front.store.snapshot().tenants == (expected,)
    assert front.engine.told[-1] == ("put_tenant", expected)


def test_a_patch_brings_no_removed_tenant_back(front, monkeypatch):
    front.ask("PUT", PATH, json={})
    with TenantStore(front.services.settings.database_url) as other:
        once_told(front, monkeypatch, lambda: other.remove_tenant("acme"))
        assert front.ask("PATCH", PATH, json={"weight": 3.0}).status_code == 404
    assert front.store.snapshot().tenants == ()
    assert front.engine.told[-1] == ("remove_tenant", "acme")


def test_a_patch_that_others_overtake_for_ever_gives_up(front, monkeypatch):
    front.ask("PUT", PATH, json={})
    put, weights = front.engine.put_tenant, iter(range(2, 100))

    async def told(tenant):
        await put(tenant)
        front.store.put_tenant(Tenant("acme", weight=float(next(weights))))

    monkeypatch.setattr(front.engine, "put_tenant", told)
    answer = front.ask("PATCH", PATH, json={"priority": 3})
    assert answer.status_code == 503
    (kept,) = front.store.snapshot().tenants
    assert kept.priority == 0


def test_without_keys_the_tenant_of_all_can_be_changed_before_it_was_ever_written(tmp_path):
    with admin_front(tmp_path, keys_required=False) as front:
        assert front.ask("PATCH", "/admin/tenants/default", json={"weight": 3.0}).status_code == 200
        assert front.store.snapshot().tenants == (Tenant("default", weight=3.0),)


def test_an_engine_that_came_between_the_two_steps_is_told_by_the_follower(front, monkeypatch):
    content = ContentFolder(front.folder)
    follower = EngineFollower(front.services.directory, front.engine, content)
    once_told(front, monkeypatch, front.engine.told.clear)  # another engine, which knows nothing
    assert front.ask("PUT", PATH, json={"weight": 3.0}).status_code == 201
    assert front.engine.told == []
    asyncio.run(follower.follow())
    assert front.engine.told == [("put_tenant", Tenant("acme", weight=3.0))]


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize("depth", [200, 850, 950, 5000])
def test_no_depth_of_a_body_breaks_anything(front, method, depth):
    front.ask("PUT", PATH, json={})
    body = b'{"limits":' * depth + b"1" + b"}" * depth
    headers = {**front.admin, "content-type": "application/json"}
    assert front.client.request(method, PATH, content=body, headers=headers).status_code == 400


def test_a_removed_tenants_content_goes_with_it(front):
    headers = front.tenant("acme"), front.tenant("globex")
    for each in headers:
        assert front.client.put("/v1/programs/p", content=b"\0asm", headers=each).status_code == 201
    assert front.ask("PUT", "/admin/programs/p", content=b"\0asm").status_code == 201
    content = ContentFolder(front.folder)
    follower = EngineFollower(front.services.directory, front.engine, content)
    assert len(front.contents()) == 3
    with TenantStore(front.services.settings.database_url) as other:
        other.remove_tenant("acme")
    asyncio.run(follower.follow())
    assert [path.parts[-3] for path in front.contents()] == ["everyone", "globex"]
    assert front.engine.told[-1] == ("remove_tenant", "acme")


def test_content_stays_of_tenants_that_are_back_or_were_never_seen(front, monkeypatch):
    front.tenant("acme")
    for owner in ("acme", "unknown"):
        folder = front.folder / "items" / "tenants" / owner / "program"
        folder.mkdir(parents=True)
        (folder / "x.wasm").write_bytes(b"\0asm")
    content = ContentFolder(front.folder)
    follower = EngineFollower(front.services.directory, front.engine, content)
    front.store.remove_tenant("acme")
    remove = front.engine.remove_tenant

    async def back(tenant_id):
        await remove(tenant_id)
        front.store.put_tenant(Tenant("acme"))
        front.services.directory.refresh()

    monkeypatch.setattr(front.engine, "remove_tenant", back)
    asyncio.run(follower.follow())
    assert len(front.contents()) == 2


def test_a_tenant_sends_one_upload_at_a_time_and_leaves_admins_a_place(tmp_path):
    desk = UploadDesk(tmp_path)

    def request() -> Request:
        async def receive():
            return {"type": "http.request", "body": b"x", "more_body": False}

        return Request({"type": "http", "headers": []}, receive)

    async def send() -> None:
        async with desk.receive(request(), 9, "a"), desk.receive(request(), 9, "b"):
            for sender in ("a", "b"):
                with pytest.raises(EngineUnavailableError):
                    async with desk.receive(request(), 9, sender):
                        pass
            async with desk.receive(request(), 9, None):
                with pytest.raises(EngineUnavailableError):
                    async with desk.receive(request(), 9, "c"):
                        pass
                async with desk.receive(request(), 9, None) as upload:
                    assert upload.size_bytes == 1
        with pytest.raises(HTTPException):
            async with desk.receive(request(), 9, "a"):
                raise HTTPException(400)
        async with desk.receive(request(), 9, "a"):
            pass

    asyncio.run(send())
    assert list((tmp_path / "uploads").iterdir()) == []
