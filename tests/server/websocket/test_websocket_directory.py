"""The protocol with keys as they are kept: made, disabled, guessed while connections are open."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from tests.server.fakes import FakeEngine
from tests.server.web_socket_server import make_services, make_socket_app

from realm.server.definitions import Model, Tenant
from realm.server.front.directory import Directory
from realm.server.store import TenantStore


def ask(session: Any, call_id: str, **fields: Any) -> Any:
    call = {"id": call_id, "function": "generate", "params": {"prompt": "p"}, **fields}
    session.send_json(call)
    return session.receive_json()


def test_keys_that_are_kept_in_a_database(tmp_path: Path) -> None:
    store = TenantStore(f"sqlite:///{tmp_path / 'realm.db'}")
    try:
        store.put_tenant(Tenant("acme"))
        key, secret = store.create_key("acme")
        _, admin = store.create_key(None)
        directory = Directory(
            store, [Model("small", "/s.gguf")], keys_required=True, wall_clock=time.time
        )
        engine = FakeEngine()
        services = dataclasses.replace(make_services(engine), directory=directory)
        with TestClient(make_socket_app(services)) as client:
            for wrong in (admin, secret[:-1], secret + "x", key.prefix, "é\x00", "x" * 1024):
                with client.websocket_connect("/ws") as session:
                    session.receive_json()
                    session.send_json({"type": "auth", "api_key": wrong})
                    assert session.receive_json()["type"] == "auth_failed"
                    with pytest.raises(WebSocketDisconnect):
                        session.receive_json()
            with client.websocket_connect("/ws") as session:
                session.receive_json()
                session.send_json({"type": "auth", "api_key": secret})
                assert session.receive_json() == {"type": "auth_success", "tenant_id": "acme"}
                session.receive_json()
                assert ask(session, "1")["status"] == "complete"
                store.set_key_enabled(key.prefix, False)
                directory.refresh()
                assert ask(session, "2")["error"]["code"] == "UNAUTHORIZED"
                store.set_key_enabled(key.prefix, True)
                directory.refresh()
                assert ask(session, "3")["status"] == "complete"
                store.put_tenant(Tenant("acme", is_enabled=False))
                directory.refresh()
                assert ask(session, "4")["error"]["code"] == "UNAUTHORIZED"
        assert [each.call.model for each in engine.generations] == ["small", "small"]
    finally:
        store.close()


def test_a_server_that_comes_to_ask_for_keys_serves_nobody_without(tmp_path: Path) -> None:
    store = TenantStore(f"sqlite:///{tmp_path / 'realm.db'}")
    try:
        directory = Directory(
            store, [Model("small", "/s.gguf")], keys_required=False, wall_clock=time.time
        )
        services = dataclasses.replace(make_services(FakeEngine()), directory=directory)
        with TestClient(make_socket_app(services)).websocket_connect("/") as session:
            assert session.receive_json()["tenant_id"] == "default"
            assert ask(session, "1", tenant_id="whoever")["status"] == "complete"
            directory.keys_required = True
            assert ask(session, "2")["error"]["code"] == "UNAUTHORIZED"
    finally:
        store.close()
