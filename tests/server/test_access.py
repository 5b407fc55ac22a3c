"""Every route of the whole server: marked, and shut without its key."""

import asyncio
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import BaseRoute
from starlette.websockets import WebSocketDisconnect
from tests.server.admin.admin_front import AdminFront, admin_front

from realm.server.front.access import MarkedRoute, MarkedWebSocketRoute

OPEN = {"/", "/health", "/ready", "/openapi.json"}
HEADER_VARIANTS = [
    "",
    " ",
    "Bearer",
    "Bearer ",
    "Bearer  ",
    "bearer null",
    "Bearer undefined",
    "Bearer realm_",
    "Bearer realm_x_y",
    "Bearer " + "a" * 5000,
    "Basic {key}",
    "Token {key}",
    "{key}",
    "Bearer{key}",
    "Bearer\t{key}",
    "Bearer {key}x",
    "Bearer x{key}",
    "Bearer {key},",
    "Bearer {key} {key}",
    "Bearer, Bearer {key}",
    'Bearer "{key}"',
    "Bearer %00{key}",
    "Bearer {upper}",
    "Bearer {half}",
    "Bearer ' OR 1=1 --",
    "Bearer \u00ff\u00fe",
]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdminFront]:
    with admin_front(tmp_path_factory.mktemp("front")) as front:
        yield front


def routes_of(front: AdminFront) -> list[BaseRoute]:
    return front.client.app.routes


def closed_routes(front: AdminFront) -> list[tuple[str, str, str]]:
    """(access, method, a path) of each that wants a key."""
    return [
        (route.access, method, filled(route))
        for route in routes_of(front)
        if isinstance(route, MarkedRoute) and route.access != "open"
        for method in sorted(route.methods)
    ]


def filled(route: MarkedRoute) -> str:
    path = route.path
    for name in route.param_convertors:
        path = path.replace(f"{{{name}:path}}", "name").replace(f"{{{name}}}", "name")
    assert "{" not in path
    return path


def test_every_route_is_marked(front: AdminFront) -> None:
    for route in routes_of(front):
        assert isinstance(route, MarkedRoute | MarkedWebSocketRoute), route
        assert route.access in ("open", "tenant", "admin")
        if route.access == "open":
            assert route.path in OPEN or route.path.startswith("/page/"), route.path
            assert route.methods <= {"GET", "HEAD"}
        assert route.path.startswith("/admin/") <= (route.access == "admin"), route.path


def test_each_kind_of_access_has_routes(front: AdminFront) -> None:
    kinds = [access for access, _, _ in closed_routes(front)]
    assert kinds.count("tenant") >= 6
    assert kinds.count("admin") >= 10


async def ask(
    app: Starlette, method: str, path: str, headers: list[tuple[str, bytes]], query: str = ""
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body, without a client's own idea of what may be sent. The request's
    body is never to be read: the key is looked at first."""
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        raise AssertionError("the body was read before the key")

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value) for name, value in headers],
        "scheme": "http",
        "server": ("server", 80),
        "client": ("client", 1),
    }
    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


def test_no_route_opens_without_its_key(front: AdminFront) -> None:
    tenant = front.tenant("walker")["Authorization"].removeprefix("Bearer ")
    admin = front.admin["Authorization"].removeprefix("Bearer ")
    own, other = {"tenant": tenant, "admin": admin}, {"tenant": admin, "admin": tenant}

    async def walk(access: str, method: str, path: str) -> None:
        key = own[access]
        bearer = ("authorization", f"Bearer {key}".encode())
        foreign = ("authorization", f"Bearer {other[access]}".encode())
        elsewhere = [("x-api-key", key.encode()), ("cookie", f"authorization={key}".encode())]
        tried = [[], [foreign], [bearer, bearer], [bearer, foreign], elsewhere]
        for variant in HEADER_VARIANTS:
            half = key[: len(key) // 2]
            text = variant.format(key=key, upper=key.upper(), half=half)
            tried.append([("authorization", text.encode("latin-1"))])
        for headers in tried:
            status, answered, body = await ask(
                front.client.app, method, path, headers, f"api_key={key}"
            )
            assert status == 401, (method, path, headers)
            assert answered[b"www-authenticate"].startswith(b"Bearer")
            assert b"invalid_api_key" in body
            assert key.encode() not in body

    async def walk_all() -> None:
        for access, method, path in closed_routes(front):
            await walk(access, method, path)

    asyncio.run(walk_all())


def test_the_right_key_opens(front: AdminFront) -> None:
    headers = {"tenant": front.tenant("right"), "admin": front.admin}
    for access, method, path in closed_routes(front):
        if method in ("GET", "HEAD"):
            answer = front.client.request(method, path, headers=headers[access])
            assert answer.status_code != 401, path


def test_web_sockets_are_told_to_show_a_key(front: AdminFront) -> None:
    paths = [each.path for each in routes_of(front) if isinstance(each, MarkedWebSocketRoute)]
    assert paths
    for path in paths:
        with front.client.websocket_connect(path) as socket:
            assert socket.receive_json()["type"] == "auth_required"
            socket.send_json({"type": "auth", "api_key": "wrong"})
            assert socket.receive_json()["type"] == "auth_failed"
            with pytest.raises(WebSocketDisconnect):
                socket.receive_json()


def test_a_tenant_cannot_name_what_is_not_its_own(tmp_path: Path) -> None:
    with admin_front(tmp_path) as front:
        headers = front.tenant("one")
        texts = {"model": "small", "prompt": "x"}
        hidden = [
            {"realm": {"adapter": "of-another"}},
            {"model": "small:of-another"},
            {"model": "of-another"},
            {"model": "../small"},
            {"model": "/m/small.gguf"},
        ]
        for each in hidden:
            answer = front.client.post("/v1/completions", json={**texts, **each}, headers=headers)
            assert answer.status_code == 404, each
            assert "/m/" not in answer.text.replace("/m/small.gguf'", "'")
        assert front.engine.generations == []
