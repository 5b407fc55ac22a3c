"""Pages of other sites: kept out where no key is asked for, and let in with one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from tests.server.admin.admin_front import AdminFront, admin_front

from realm.server.front.access import MarkedRoute
from realm.server.front.metrics_routes import metrics_app

HERE = "127.0.0.1:8000"
BODY = {"model": "small", "messages": [{"role": "user", "content": "Hello"}]}
LOCAL_HOSTS = (HERE, "127.9.9.9", "localhost:1", "LOCALHOST.", "[::1]:8000", "a.localhost:80")
FOREIGN_HOSTS = (
    "evil.example:8000",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "localhost@evil.example",
    "0.0.0.0:8000",
    "10.0.0.1:8000",
    "[::1",
    "[",
    ":8000",
    "",
    " ",
    "localhost:8000, evil.example",
    "\u00ff",
)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminFront]:
    with admin_front(tmp_path_factory.mktemp("open"), keys_required=False) as front:
        yield front


def status(front: AdminFront, headers: dict[str, str], method: str = "POST") -> int:
    path, what = (
        ("/v1/chat/completions", {"json": BODY}) if method == "POST" else ("/v1/models", {})
    )
    encoded = {name: value.encode("latin-1") for name, value in headers.items()}
    return front.client.request(method, path, headers=encoded, **what).status_code


@pytest.mark.parametrize("host", LOCAL_HOSTS)
def test_a_name_of_this_machine_is_served(front, host):
    assert status(front, {"host": host}) == status(front, {"host": host}, "GET") == 200


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
@pytest.mark.parametrize("origin", [None, "http://{host}"])
def test_a_name_of_elsewhere_is_not_even_where_it_means_this_machine(front, host, origin):
    headers = {"host": host} if origin is None else {"host": host, "origin": f"http://{host}"}
    before = len(front.engine.generations)
    assert status(front, headers) == status(front, headers, "GET") == 403
    assert len(front.engine.generations) == before


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://127.0.0.1:8000", 200),
        ("http://127.0.0.1", 403),
        ("http://localhost:8000", 403),
        ("http://evil.example", 403),
        ("https://127.0.0.1:8001", 403),
        ("null", 403),
        ("", 403),
        ("http://[", 403),
        ("file://", 403),
    ],
)
def test_only_this_servers_own_page_asks_it(front, origin, expected):
    headers = {"host": HERE, "origin": origin}
    assert status(front, headers) == status(front, headers, "GET") == expected


def test_two_hosts_or_origins_do_not_help(front):
    two = [("host", HERE), ("host", "evil.example")]
    assert front.client.get("/v1/models", headers=two).status_code == 403
    two = [("host", HERE), ("origin", f"http://{HERE}"), ("origin", "http://evil.example")]
    assert front.client.get("/v1/models", headers=two).status_code == 403


def test_what_is_no_key_does_not_help_and_a_key_does(front):
    foreign = {"host": "evil.example", "origin": "http://evil.example"}
    assert status(front, {**foreign, "authorization": "Bearer anything"}) == 403
    headers = {**front.tenant("acme"), **foreign}
    assert status(front, headers) == status(front, headers, "GET") == 200


def test_without_keys_the_administration_still_wants_one(front):
    routes = [each for each in front.client.app.routes if isinstance(each, MarkedRoute)]
    admin = [each for each in routes if each.access == "admin"]
    assert len(admin) > 10
    for route in admin:
        path = route.path.replace("{", "").replace("}", "")
        for method in route.methods or ():
            for headers in ({"host": HERE}, {"host": HERE, "authorization": "Bearer x"}):
                assert front.client.request(method, path, headers=headers).status_code == 401


def test_a_server_that_others_reach_has_whatever_name(tmp_path):
    with admin_front(tmp_path, keys_required=False, host="0.0.0.0") as front:
        assert status(front, {"host": "realm.example"}) == 200
        assert status(front, {"host": "realm.example", "origin": "http://realm.example"}) == 200
        assert status(front, {"host": "realm.example", "origin": "http://evil.example"}) == 403


@pytest.mark.parametrize("host", ["localhost", "evil.example"])
def test_web_sockets_too(front, host):
    connect = front.client.websocket_connect(f"ws://{host}/ws")
    if host == "localhost":
        with connect as session:
            assert session.receive_json()["status"] == "connected"
        return
    with pytest.raises(WebSocketDenialResponse) as refused, connect:
        pass
    assert refused.value.status_code == 403


def test_metrics_without_a_key_are_for_this_machine(front, tmp_path: Path):
    client = TestClient(metrics_app(front.services))
    assert client.get("/metrics", headers={"host": "localhost:9"}).status_code == 200
    assert client.get("/metrics", headers={"host": "evil.example:9"}).status_code == 403
