"""What stands around all routes: ids, limits of bodies, errors in one shape, metrics."""

import asyncio
import json
import logging
from collections.abc import Iterator

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient
from tests.server.fakes import FakeEngine
from tests.server.openai.fronts import ADMIN_KEY, HEADERS, KEY, make_services

from realm.server.front import health, openai
from realm.server.front.access import open_route, tenant_route
from realm.server.front.app import app_of
from realm.server.front.body_limit import set_body_limit
from realm.server.front.identity import Identity

BODY = {"model": "tiny", "prompt": "x"}


async def broken(request: Request) -> Response:
    raise KeyError("/srv/secret/path and a prompt")


async def count(request: Request, identity: Identity) -> Response:
    set_body_limit(request, 5000)
    return Response(str(len(await request.body())))


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def client(engine: FakeEngine) -> Iterator[TestClient]:
    services = make_services(engine, max_body_bytes=1000, max_tenant_body_bytes=2000)
    routes = [
        *health.routes(services),
        *openai.routes(services),
        open_route("/broken", broken),
        tenant_route("/upload", count, services=services, methods=("POST",)),
    ]
    client = TestClient(app_of(services, routes))
    client.services = services
    yield client


def test_bodies_of_one_tenant_have_a_limit_together(engine: FakeEngine, client: TestClient) -> None:
    body = json.dumps(BODY | {"ignored": "x" * 850}).encode()
    headers = HEADERS | {"content-type": "application/json"}
    path = "/v1/completions"

    async def run() -> None:
        transport = httpx.ASGITransport(app=client.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://a") as asking:
            engine.gate = asyncio.Semaphore(0)
            running = [
                asyncio.create_task(asking.post(path, content=body, headers=headers))
                for _ in range(2)
            ]
            while len(engine.generations) < 2:
                await asyncio.sleep(0)
            refused = await asking.post(path, content=body, headers=headers)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert "2000 bytes" in refused.json()["error"]["message"]
            upload = await asking.post("/upload", content=bytes(4000), headers=headers)
            assert (upload.status_code, upload.text) == (200, "4000")
            running[0].cancel()
            for _ in range(100):
                engine.gate.release()
            assert (await running[1]).status_code == 200

    asyncio.run(run())
    engine.gate = None
    for _ in range(5):  # nothing is left of those before
        assert client.post(path, content=body, headers=headers).status_code == 200


def test_health_and_readiness(engine: FakeEngine, client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}
    engine.is_ready = False
    assert client.get("/health").status_code == 200
    away = client.get("/ready")
    assert away.status_code == 503
    assert away.headers["retry-after"] == "1"
    assert away.json()["error"]["code"] == "engine_unavailable"


@pytest.mark.parametrize("given", ["a", "abc-123.X_y", "f" * 64])
def test_an_id_that_is_short_and_plain_is_kept(client: TestClient, given: str) -> None:
    assert client.get("/health", headers={"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize(
    "given", ["", " ", "f" * 65, "a b", "a\tb", "<script>", "%0d%0a", "-a", "\u00e9", "a;b", "../x"]
)
def test_any_other_id_is_replaced(client: TestClient, given: str) -> None:
    headers = {"x-request-id": given.encode("latin-1")}
    found = client.get("/health", headers=headers).headers["x-request-id"]
    assert found != given
    assert len(found) == 24
    assert found.isalnum()


def test_two_ids_are_none(client: TestClient) -> None:
    answer = client.get("/health", headers=[("x-request-id", "a"), ("x-request-id", "b")])
    assert answer.headers.get_list("x-request-id")[0] not in ("a", "b")


def test_ids_reach_the_log_and_errors_too(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        answer = client.post(
            "/v1/completions", json=BODY, headers={**HEADERS, "x-request-id": "mine"}
        )
    assert answer.headers["x-request-id"] == "mine"
    records = {each.getMessage(): each for each in caplog.records if "realm" in each.name}
    assert records["generation"].request_id == "mine"
    assert records["generation"].tenant == "acme"
    assert records["request"].request_id == "mine"
    missing = client.get("/nowhere", headers={"x-request-id": "mine"})
    assert missing.headers["x-request-id"] == "mine"
    assert missing.json()["error"]["code"] == "not_found"


def test_a_defect_is_an_answer_without_its_details(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.get("/broken", headers={"x-request-id": "mine"})
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert any(getattr(each, "request_id", None) == "mine" for each in caplog.records)


def test_methods_that_a_path_does_not_take(client: TestClient) -> None:
    answer = client.get("/v1/chat/completions", headers=HEADERS)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_a_slash_too_many_is_another_path(client: TestClient) -> None:
    answer = client.post("/v1/completions/", json=BODY, headers=HEADERS, follow_redirects=False)
    assert answer.status_code == 404


@pytest.mark.parametrize("announced", [True, False])
def test_bodies_are_bounded(engine: FakeEngine, client: TestClient, announced: bool) -> None:
    def content(size: int) -> bytes | Iterator[bytes]:
        body = b" " * size
        return body if announced else iter([body[:600], body[600:]])

    headers = {**HEADERS, "content-type": "application/json"}
    long = client.post("/v1/completions", content=content(1001), headers=headers)
    assert long.status_code == 413
    assert long.json()["error"]["code"] == "request_too_large"
    assert long.headers["connection"] == "close"
    assert client.post("/v1/completions", content=content(1000), headers=headers).status_code == 400
    assert client.post("/upload", content=content(5000), headers=headers).text == "5000"
    assert client.post("/upload", content=content(5001), headers=headers).status_code == 413
    unknown = client.post("/upload", content=content(5001))
    assert unknown.status_code == 401, "a body was looked at before the key"


def test_an_admin_key_does_not_generate(engine: FakeEngine, client: TestClient) -> None:
    answer = client.post(
        "/v1/completions", json=BODY, headers={"authorization": f"Bearer {ADMIN_KEY}"}
    )
    assert answer.status_code == 401
    assert engine.generations == []


def test_two_keys_are_none(client: TestClient) -> None:
    headers = [("authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {KEY}")]
    assert client.get("/v1/models", headers=headers).status_code == 401
    assert client.get("/v1/models", headers=headers[:1]).status_code == 200


def test_requests_are_counted_by_their_routes(client: TestClient) -> None:
    for path in ("/health", "/v1/models/tiny", "/v1/models/other", "/a/b", "/c"):
        client.get(path, headers=HEADERS)
    text = client.services.metrics.render(None).decode()
    assert 'realm_http_requests_total{route="/v1/models/{name}",status="200"} 1.0' in text
    assert 'realm_http_requests_total{route="/v1/models/{name}",status="404"} 1.0' in text
    assert 'realm_http_requests_total{route="unmatched",status="404"} 2.0' in text
    assert "/a/b" not in text
