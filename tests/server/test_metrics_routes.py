"""/metrics: for administrators, and on a port of its own for whoever may reach that."""

import asyncio

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tests.server.page.page_server import (
    ADMIN_KEY,
    FakeDirectory,
    FiguresEngine,
    make_page_app,
    make_services,
)

from realm.server.front.metrics_routes import metrics_app, routes
from realm.server.wire.messages import Figures


def _get(app, path="/metrics", method="GET", **headers):
    async def ask():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(ask())


def _services():
    engine = FiguresEngine()
    engine.now = Figures(0, {"acme": {"requests": 3}}, {"batch_fill": 0.5})
    return make_services(engine, FakeDirectory()), engine


def test_an_administrator_reads_them():
    services, _ = _services()
    app = make_page_app(services)
    answer = _get(app, authorization=f"Bearer {ADMIN_KEY}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    names = {each.name for each in text_string_to_metric_families(answer.text)}
    assert {"realm_engine_requests", "realm_batch_fill", "realm_engine_up"} <= names
    assert _get(app).status_code == 401
    assert [each.access for each in routes(services)] == ["admin"]


def test_the_port_of_their_own_serves_nothing_else():
    services, _ = _services()
    app = metrics_app(services)
    assert b'realm_engine_requests_total{tenant="acme"} 3.0' in _get(app).content
    assert _get(app, "/").status_code == 404
    assert _get(app, "/v1/models").status_code == 404
    assert _get(app, "/metrics/../admin/figures").status_code == 404
    assert _get(app, method="POST").status_code == 405


def test_they_are_there_while_the_engine_is_not():
    services, engine = _services()
    engine.now = None
    services.metrics.request_ended("/v1/models", 200, 0.1)
    text = _get(metrics_app(services)).text
    assert "realm_engine_up 0.0" in text
    assert 'realm_http_requests_total{route="/v1/models",status="200"} 1.0' in text


def test_the_label_of_a_tenant_that_was_removed_goes():
    services, engine = _services()
    app = metrics_app(services)
    services.metrics.first_token("removed", 0.1)
    services.metrics.first_token("acme", 0.1)
    engine.now = None
    assert 'tenant="removed"' in _get(app).text
    engine.now = Figures(0, {"default": {}}, {})
    services.metrics.first_token("default", 0.1)
    text = _get(app).text
    assert 'tenant="removed"' not in text
    assert 'realm_time_to_first_token_seconds_count{tenant="acme"} 1.0' in text
    assert 'realm_time_to_first_token_seconds_count{tenant="default"} 1.0' in text
