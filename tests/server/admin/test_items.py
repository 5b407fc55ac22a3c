"""Uploads: checked before anything changes, kept where nobody else is told, gone when removed."""

import asyncio
import errno

import httpx
import pytest
from sqlalchemy import create_engine, text
from tests.server.admin.admin_front import admin_front, bearer, peft_zip

from realm.errors import AdapterMismatchError, EngineUnavailableError, GuestCompileError

GGUF = b"GGUF" + bytes(60)
WASM = b"\0asm\1\0\0\0"


@pytest.fixture
def front(tmp_path):
    with admin_front(tmp_path, max_upload_bytes=100_000, max_tenant_upload_bytes=3000) as made:
        yield made


def test_everyones_adapter_from_its_upload_to_its_end(front):
    made = front.ask("PUT", "/admin/adapters/pirate", content=GGUF)
    assert made.status_code == 201
    assert set(made.json()) == {"name", "digest", "size_bytes"}
    kind, item = front.engine.told[-1][1:]
    assert (kind, item.name, item.tenant_id) == ("adapter", "pirate", None)
    (path,) = front.contents()
    assert item.path == str(path)
    assert path.read_bytes() == GGUF
    assert front.ask("PUT", "/admin/adapters/pirate", content=GGUF + b"1").status_code == 200
    (replaced,) = front.contents()
    assert replaced != path
    assert front.store.snapshot().items["adapter"][0].path == str(replaced)
    own = front.tenant("acme")
    names = [each["id"] for each in front.client.get("/v1/models", headers=own).json()["data"]]
    assert names == ["small", "small:pirate"]
    assert front.ask("DELETE", "/admin/adapters/pirate").status_code == 204
    assert front.engine.told[-1] == ("remove_item", "adapter", "pirate", None)
    assert front.contents() == []
    assert front.ask("DELETE", "/admin/adapters/pirate").status_code == 404


def test_a_peft_folder_is_kept_unpacked(front):
    assert front.ask("PUT", "/admin/adapters/x", content=peft_zip()).status_code == 201
    (folder,) = front.contents()
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]


def test_a_tenants_own_are_its_own(front):
    acme, other = front.tenant("acme"), front.tenant("other")
    for headers in (acme, other):
        assert front.ask("PUT", "/v1/adapters/a", headers, content=GGUF).status_code == 201
        assert front.ask("PUT", "/v1/programs/p", headers, content=WASM).status_code == 201
    assert len(front.contents()) == 4
    front.ask("PUT", "/admin/adapters/everyones", content=GGUF)
    listed = front.ask("GET", "/v1/adapters", acme).json()["data"]
    assert [item["name"] for item in listed] == ["a"]
    assert front.ask("DELETE", "/v1/adapters/a", acme).status_code == 204
    assert front.ask("DELETE", "/v1/adapters/everyones", acme).status_code == 404
    assert len(front.ask("GET", "/v1/adapters", other).json()["data"]) == 1
    assert len(front.ask("GET", "/admin/tenants/other/adapters").json()["data"]) == 1
    assert front.ask("DELETE", "/admin/tenants/other").status_code == 204
    assert [path.name for path in front.folder.glob("items/tenants/*")] == ["acme"]
    assert front.ask("PUT", "/v1/adapters/a", other, content=GGUF).status_code == 401


def test_the_same_content_under_two_names_lasts_as_long_as_one_of_them(front):
    own = front.tenant("acme")
    for name in ("a", "b"):
        front.ask("PUT", f"/v1/adapters/{name}", own, content=GGUF)
    assert len(front.contents()) == 1
    front.ask("DELETE", "/v1/adapters/a", own)
    assert len(front.contents()) == 1
    front.ask("DELETE", "/v1/adapters/b", own)
    assert front.contents() == []


@pytest.mark.parametrize(
    ("kind", "content", "error"),
    [
        ("adapters", GGUF, AdapterMismatchError("tensor blk.0.attn_q.weight does not fit")),
        ("programs", WASM, GuestCompileError("not a module: tensor")),
        ("drafts", GGUF, EngineUnavailableError("away: tensor")),
    ],
)
def test_what_the_engine_refuses_changes_nothing(front, kind, content, error):
    assert front.ask("PUT", f"/admin/{kind}/x", content=content).status_code == 201
    before, kept = front.store.snapshot(), front.contents()
    front.engine.error = error
    answer = front.ask("PUT", f"/admin/{kind}/x", content=content + b"other")
    assert answer.status_code in (400, 422, 503)
    assert "tensor" in answer.json()["error"]["message"]
    assert front.ask("PUT", f"/admin/{kind}/y", content=content).status_code >= 400
    assert (front.store.snapshot(), front.contents()) == (before, kept)
    assert list((front.folder / "uploads").iterdir()) == []


def test_a_locked_database_takes_the_item_back_from_the_engine(front, tmp_path):
    front.ask("PUT", "/admin/adapters/old", content=GGUF)
    old = front.engine.told[-1][2]
    engine = create_engine(f"sqlite:///{tmp_path / 'realm.db'}")
    with engine.connect() as other:
        other.execute(text("BEGIN IMMEDIATE"))
        assert front.ask("PUT", "/admin/adapters/x", content=GGUF + b"1").status_code == 503
        assert front.engine.told[-1] == ("remove_item", "adapter", "x", None)
        assert front.ask("PUT", "/admin/adapters/old", content=GGUF + b"2").status_code == 503
        assert front.engine.told[-1] == ("put_item", "adapter", old)
        other.rollback()
    engine.dispose()
    assert [str(path) for path in front.contents()] == [old.path]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400),
        (b"hello", 400),
        (b"PK\x03\x04", 400),
        (b"PK\x05\x06" + bytes(18), 400),
        (peft_zip(adapter_config=b"x")[:-1], 400),
        (b"GGUF" + bytes(200_000), 413),
        (peft_zip(**{"../x": b"x"}), 400),
    ],
)
def test_bodies_that_are_no_adapter(front, content, status):
    assert front.ask("PUT", "/admin/adapters/x", content=content).status_code == status
    assert front.contents() == []
    assert front.store.snapshot().items["adapter"] == ()


@pytest.mark.parametrize("name", ["a:b", "%2e%2e", "a%2fb", "a" * 101, "a%00", "_x", "a b"])
def test_what_nothing_may_be_called(front, name):
    for method in ("PUT", "DELETE"):
        answer = front.ask(method, f"/admin/adapters/{name}", content=GGUF)
        assert answer.status_code in (400, 404)
    assert front.contents() == []


def test_a_body_of_unknown_length_is_counted(front):
    chunks = (b"GGUF" + bytes(50_000) for _ in range(10))
    assert front.ask("PUT", "/admin/adapters/x", content=chunks).status_code == 413
    assert list((front.folder / "uploads").iterdir()) == []


def test_a_tenants_uploads_are_bounded_together_and_an_admins_are_not(front):
    own = front.tenant("acme")
    big = b"GGUF" + bytes(1500)
    assert front.ask("PUT", "/v1/adapters/a", own, content=big).status_code == 201
    assert front.ask("PUT", "/v1/adapters/a", own, content=big + b"1").status_code == 200
    refused = front.ask("PUT", "/v1/adapters/b", own, content=big)
    assert (refused.status_code, "3000 bytes" in refused.text) == (400, True)
    assert front.ask("PUT", "/admin/tenants/acme/adapters/b", content=big).status_code == 201


def test_items_of_a_tenant_that_there_is_not(front):
    for method, path in (("PUT", "/x"), ("GET", ""), ("DELETE", "/x")):
        answer = front.ask(method, f"/admin/tenants/none/adapters{path}", content=GGUF)
        assert answer.status_code == 404


def test_a_full_disk_is_a_503_and_leaves_nothing(front, monkeypatch):
    def full(*unused, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("realm.server.front.admin.upload.TemporaryDirectory", full)
    assert front.ask("PUT", "/admin/adapters/x", content=GGUF).status_code == 503
    monkeypatch.undo()
    monkeypatch.setattr("realm.server.front.admin.content._flush", full)
    assert front.ask("PUT", "/admin/adapters/x", content=GGUF).status_code == 503
    assert front.contents() == []
    monkeypatch.undo()
    assert front.ask("PUT", "/admin/adapters/x", content=GGUF).status_code == 201


def test_many_uploads_at_once_are_all_kept_or_told_to_come_back(front):
    async def upload() -> list[int]:
        transport = httpx.ASGITransport(front.client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            answers = await asyncio.gather(
                *(
                    client.put(
                        f"/admin/adapters/a{number}",
                        content=GGUF + bytes([number]),
                        headers=front.admin,
                    )
                    for number in range(8)
                )
            )
        return [answer.status_code for answer in answers]

    statuses = asyncio.run(upload())
    assert set(statuses) <= {201, 503}
    assert len(front.contents()) == statuses.count(201) >= 4


def test_no_answer_tells_a_place_on_this_machine(front, tmp_path):
    front.engine.error = AdapterMismatchError(f"{tmp_path}/data/items/everyone/x.gguf: wrong")
    answer = front.ask("PUT", "/admin/adapters/x", content=GGUF)
    assert str(tmp_path) not in answer.text
    front.engine.error = None
    front.ask("PUT", "/admin/adapters/x", content=GGUF)
    assert str(tmp_path) not in front.ask("GET", "/admin/adapters").text


def test_keys_of_others_open_no_uploads(front):
    front.tenant("acme")
    for headers in ({}, bearer("x"), front.admin):
        answer = front.client.put("/v1/adapters/a", content=GGUF, headers=headers)
        assert answer.status_code == 401
    assert not (front.folder / "uploads").exists()
