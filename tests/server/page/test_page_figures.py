"""Figures for the page: a tenant sees itself, an administrator everyone."""

import asyncio

import httpx
import pytest
from tests.server.page.page_server import (
    ADMIN_KEY,
    KEY,
    FakeDirectory,
    FiguresEngine,
    make_page_app,
    make_services,
)

from realm.server.definitions import Tenant
from realm.server.front.figures_reader import FiguresReader
from realm.server.wire.messages import Figures

ACME = {
    "requests": 4,
    "failures": 1,
    "live_guests": 2,
    "queued_requests": 1,
    "prompt_tokens": 70,
    "completion_tokens": 300,
    "guest_seconds": 0.25,
    "traps": 3,
    "limits_reached": 5,
    "cache_bytes": 4096,
    "cache_pages": 2,
    "speculation": {
        "by_source": {
            "suffix": {"drafted": 30, "accepted": 10, "lengths": [1, 2]},
            "model": {"drafted": 10, "accepted": 10, "lengths": [0, 1]},
        }
    },
}


def _ask(path, key=KEY, *, figures=None, tenants=("acme", "other-corp"), engine=None):
    engine = FiguresEngine() if engine is None else engine
    if figures is not None:
        engine.now = figures
    directory = FakeDirectory([Tenant(each) for each in tenants])

    async def ask():
        app = make_page_app(make_services(engine, directory))
        transport = httpx.ASGITransport(app)
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://realm") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


def test_a_tenant_sees_itself_and_the_batch_alone():
    figures = Figures(
        0, {"acme": ACME, "other-corp": {"requests": 99}}, {"batch_fill": 0.5, "secret": 77.0}
    )
    answer = _ask("/v1/figures", figures=figures)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert told.pop("at") > 0
    assert told == {
        "tenant_id": "acme",
        "batch_fill": 0.5,
        "tenant": {
            "running": 2,
            "queued": 1,
            "requests": 4,
            "failures": 1,
            "prompt_tokens": 70,
            "completion_tokens": 300,
            "drafted_tokens": 40,
            "accepted_tokens": 20,
            "guest_seconds": 0.25,
            "traps": 3,
            "limits_reached": 5,
            "cache_bytes": 4096,
            "cache_pages": 2,
        },
    }
    assert "other-corp" not in answer.text


def test_a_tenant_that_the_engine_has_not_seen_is_all_zero():
    told = _ask("/v1/figures", figures=Figures(0, {}, {})).json()
    assert set(told["tenant"].values()) == {0}


@pytest.mark.parametrize("key", [None, "wrong", "realm_x_y", ADMIN_KEY])
def test_a_tenants_figures_want_its_key(key):
    assert _ask("/v1/figures", key).status_code == 401


@pytest.mark.parametrize("key", [None, "wrong", KEY])
@pytest.mark.parametrize("path", ["/admin/figures", "/metrics"])
def test_everyones_figures_want_an_admin_key(path, key):
    answer = _ask(path, key, figures=Figures(0, {"acme": ACME}, {}))
    assert answer.status_code == 401
    assert "acme" not in answer.text


def test_an_administrator_sees_all_the_busiest_first():
    figures = Figures(
        0,
        {
            "quiet": {"completion_tokens": 5},
            "acme": ACME,
            "busy": {"live_guests": 9, "completion_tokens": 1},
        },
        {"batch_fill": 0.25, "resident_adapters": 3.0},
    )
    answer = _ask("/admin/figures", ADMIN_KEY, figures=figures, tenants=("acme", "quiet", "idle"))
    told = answer.json()
    assert [each["tenant_id"] for each in told["tenants"]] == ["busy", "acme", "quiet", "idle"]
    assert told["tenant_count"] == told["matching"] == 4
    assert told["total"]["completion_tokens"] == 306
    assert told["total"]["running"] == 11
    assert told["engine"] == {"batch_fill": 0.25, "resident_adapters": 3.0}
    assert told["is_ready"] is True


def test_ten_thousand_tenants_are_found_and_bounded():
    tenants = [f"tenant-{each}" for each in range(10_000)]
    figures = Figures(0, {each: {"completion_tokens": 1} for each in tenants}, {})
    told = _ask("/admin/figures", ADMIN_KEY, figures=figures, tenants=tenants).json()
    assert (len(told["tenants"]), told["matching"]) == (100, 10_000)
    assert told["total"]["completion_tokens"] == 10_000
    found = _ask("/admin/figures?search=NANT-777&limit=5", ADMIN_KEY, tenants=tenants).json()
    assert (len(found["tenants"]), found["matching"], found["tenant_count"]) == (5, 11, 10_000)
    most = _ask("/admin/figures?limit=999999", ADMIN_KEY, tenants=tenants).json()
    assert len(most["tenants"]) == 1000


@pytest.mark.parametrize("limit", ["0", "-1", "1e3", "x", "", "٣", "9" * 400, "1%00", "NaN"])
def test_a_limit_that_is_none_is_refused(limit):
    assert _ask(f"/admin/figures?limit={limit}", ADMIN_KEY).status_code == 400
    assert _ask("/admin/figures?limit=7", ADMIN_KEY).status_code == 200


def test_an_engine_that_is_away():
    engine = FiguresEngine()
    engine.now = None
    assert _ask("/v1/figures", engine=engine).status_code == 503
    told = _ask("/admin/figures", ADMIN_KEY, engine=engine).json()
    assert (told["is_ready"], [each["tenant_id"] for each in told["tenants"]]) == (
        False,
        ["acme", "other-corp"],
    )


def test_steps_are_empty_once_nothing_runs():
    told = _ask("/v1/figures", figures=Figures(0, {}, {"batch_fill": 0.5, "running": 0.0})).json()
    assert told["batch_fill"] == 0
    told = _ask("/v1/figures", figures=Figures(0, {}, {"batch_fill": 7.0, "running": 1.0})).json()
    assert told["batch_fill"] == 1


def test_figures_of_another_version_or_none_are_read_with_care():
    odd = {
        "requests": "many",
        "live_guests": None,
        "completion_tokens": float("nan"),
        "cache_bytes": float("inf"),
        "guest_seconds": [],
        "speculation": {"drafted": 8, "accepted": 2},
        "unknown": {"deep": [1]},
    }
    figures = Figures(0, {"acme": odd}, {"batch_fill": float("nan")})
    told = _ask("/v1/figures", figures=figures).json()
    view = told["tenant"]
    assert (view.pop("drafted_tokens"), view.pop("accepted_tokens")) == (8, 2)
    assert set(view.values()) == {0}
    assert told["batch_fill"] == 0


def test_many_who_look_ask_the_engine_once():
    engine = FiguresEngine()
    clock = [100.0]
    services = make_services(engine, FakeDirectory(), now=lambda: clock[0])

    async def look():
        reader = FiguresReader(services)
        await asyncio.gather(*(reader.read() for _ in range(50)))
        assert engine.asked == 1
        await reader.read()
        assert engine.asked == 1
        clock[0] += 10
        assert await reader.read() == (engine.now, 110.0)
        assert engine.asked == 2
        engine.now = None
        clock[0] += 10
        assert await reader.read() == (None, 120.0)

    asyncio.run(look())


def test_an_engine_that_never_answers_is_away():
    class Silent(FiguresEngine):
        async def figures(self):
            self.asked += 1
            await asyncio.Event().wait()

    engine = Silent()

    async def look():
        reader = FiguresReader(make_services(engine, FakeDirectory()), patience_seconds=0.01)
        told = await asyncio.gather(*(reader.read() for _ in range(5)))
        assert [each[0] for each in told] == [None] * 5
        assert (await reader.read())[0] is None
        assert engine.asked == 1

    asyncio.run(look())
