"""Clients that break the protocol: each frame ends in an error, and the connection goes on."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.server.fakes import FakeEngine
from tests.server.web_socket_server import (
    ACME_KEY,
    KnownDirectory,
    make_services,
    make_socket_app,
    serving,
)
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close
from websockets.sync.client import connect

from realm.server.front.websocket.frames import MOST_ID_CHARACTERS
from realm.server.front.websocket.limits import WebSocketLimits

_CALL = '{"id": "1", "function": "health"'

HOSTILE = {
    "empty": "",
    "not JSON": "hello",
    "cut": '{"id": "1", "function": "hea',
    "cut string": '{"id": "1',
    "two objects": f"{_CALL}}} {_CALL}}}",
    "NaN": f'{_CALL}, "params": {{"x": NaN}}}}',
    "a bare number": "1",
    "a bare string": '"generate"',
    "null": "null",
    "an array": f"[{_CALL}}}]",
    "arrays without end": "[" * 100_000,
    "deep arrays": "[" * 5000 + "]" * 5000,
    "deep objects": '{"a":' * 5000 + "1" + "}" * 5000,
    "a lone surrogate": '{"id": "\\ud800", "function": "health"}',
    "no id": '{"function": "health"}',
    "an id of null": '{"id": null, "function": "health"}',
    "an id that is a number": '{"id": 1, "function": "health"}',
    "an id that is an object": '{"id": {"a": 1}, "function": "health"}',
    "an empty id": '{"id": "", "function": "health"}',
    "a huge id": '{"id": "' + "x" * 500_000 + '", "function": "health"}',
    "an id that is too long": '{"id": "' + "x" * (MOST_ID_CHARACTERS + 1) + '", "function": "h"}',
    "a number out of range": f'{_CALL}, "params": {{"x": 1e400}}}}',
    "an authentication too many": '{"type": "auth", "api_key": "realm_x"}',
}
HOSTILE_WITH_ID = {
    "no function": '{"id": "1"}',
    "a function that is a number": '{"id": "1", "function": 5}',
    "a function that is an array": '{"id": "1", "function": ["health"]}',
    "a function without a name": '{"id": "1", "function": ""}',
    "a huge function": '{"id": "1", "function": "' + "f" * 100_000 + '"}',
    "params that are an array": f'{_CALL}, "params": [1]}}',
    "params that are text": f'{_CALL}, "params": "x"}}',
    "params that are a number": f'{_CALL}, "params": 1}}',
    "a tenant that is a number": f'{_CALL}, "tenant_id": 5}}',
    "a tenant that is an object": f'{_CALL}, "tenant_id": {{}}}}',
    "unknown parameters": f'{_CALL}, "params": {{"x": 1}}}}',
}


def test_hostile_frames() -> None:
    app = make_socket_app(make_services(FakeEngine()))
    with TestClient(app).websocket_connect("/ws") as session:
        session.receive_json()
        for name, frame in (HOSTILE | HOSTILE_WITH_ID).items():
            session.send_text(frame)
            answer = session.receive_json()
            assert answer["status"] == "error", name
            assert answer["id"] == ("1" if name in HOSTILE_WITH_ID else None), name
            assert answer["error"]["code"] == "INVALID_PARAMS", name
            assert len(json.dumps(answer)) < 1000, name
            session.send_json({"id": "ok", "function": "health"})
            assert session.receive_json()["status"] == "complete", name


def test_binary_frames_are_answered_with_an_error() -> None:
    app = make_socket_app(make_services(FakeEngine()))
    with TestClient(app).websocket_connect("/ws") as session:
        session.receive_json()
        for data in (b"", b"\x00\xff", (_CALL + "}").encode()):
            session.send_bytes(data)
            answer = session.receive_json()
            assert (answer["status"], answer["error"]["code"]) == ("error", "INVALID_PARAMS")
        session.send_json({"id": "ok", "function": "health"})
        assert session.receive_json()["status"] == "complete"


def test_a_frame_that_is_too_long() -> None:
    limits = WebSocketLimits(frame_characters=100)
    app = make_socket_app(make_services(FakeEngine()), limits)
    with TestClient(app).websocket_connect("/ws") as session:
        session.receive_json()
        session.send_json({"id": "1", "function": "generate", "params": {"prompt": "p" * 100}})
        assert session.receive_json()["error"]["code"] == "INVALID_PARAMS"
        session.send_json({"id": "1", "function": "health"})
        assert session.receive_json()["status"] == "complete"


@pytest.mark.parametrize(
    "value",
    ["x", 5, [], {}, [[[]]], {"$ref": "#"}, "\x00", "{{ inputs.x }}", "' OR 1=1 --", 1e308, False],
)
@pytest.mark.parametrize("name", ["model", "adapter", "json_schema", "stop", "seed", "pipeline"])
def test_values_of_any_kind_in_any_parameter(name: str, value: Any) -> None:
    """Whatever comes, one frame answers it, and nothing of it is the server's own failure."""
    app = make_socket_app(make_services(FakeEngine()))
    with TestClient(app).websocket_connect("/ws") as session:
        session.receive_json()
        function = "pipeline" if name == "pipeline" else "generate"
        params = {name: value} if function == "pipeline" else {"prompt": "p", name: value}
        session.send_json({"id": "1", "function": function, "params": params})
        answer = session.receive_json()
        assert answer["id"] == "1"
        assert answer["status"] == "complete" or answer["error"]["code"] == "INVALID_PARAMS"
        session.send_json({"id": "2", "function": "health"})
        assert session.receive_json()["id"] == "2"


def test_as_many_calls_as_may_run_at_once_and_no_more() -> None:
    engine = FakeEngine()
    engine.gate = asyncio.Semaphore(0)
    limits = WebSocketLimits(calls=3)
    app = make_socket_app(make_services(engine), limits)
    with TestClient(app).websocket_connect("/ws") as session:
        session.receive_json()
        for place in range(5):
            session.send_json({"id": str(place), "function": "generate", "params": {"prompt": "p"}})
        refused = [session.receive_json(), session.receive_json()]
        assert [each["id"] for each in refused] == ["3", "4"]
        assert {each["error"]["code"] for each in refused} == {"RATE_LIMIT_EXCEEDED"}
        assert all(each["error"]["retry_after"] > 0 for each in refused)
        session.send_json({"id": "1", "function": "generate", "params": {"prompt": "p"}})
        twice = session.receive_json()
        assert (twice["id"], twice["error"]["details"]["field"]) == ("1", "id")
        session.send_json({"id": "c", "function": "cancel", "params": {"id": "1"}})
        assert {session.receive_json()["id"] for _ in range(2)} == {"c", "1"}
        session.send_json({"id": "5", "function": "health"})
        assert session.receive_json()["status"] == "complete"
    assert len(engine.generations) == 3
    assert all(each.is_cancelled for each in engine.generations)


def test_whoever_goes_away_takes_all_generations_along() -> None:
    engine = FakeEngine()
    engine.gate = asyncio.Semaphore(0)
    services = make_services(engine)
    with TestClient(make_socket_app(services)).websocket_connect("/ws") as session:
        session.receive_json()
        for place in range(4):
            params = {"prompt": "p", "stream": place % 2 == 0}
            session.send_json({"id": str(place), "function": "generate", "params": params})
        session.send_json({"id": "h", "function": "health"})
        assert session.receive_json()["id"] == "h"
        assert services.admission.running == 4
    assert [each.is_cancelled for each in engine.generations] == [True] * 4
    assert services.admission.running == 0


def test_ten_thousand_tiny_frames() -> None:
    with (
        serving(make_services(FakeEngine())) as port,
        connect(f"ws://127.0.0.1:{port}/ws", compression=None) as client,
    ):
        client.recv()
        for start in range(0, 10_000, 500):
            for place in range(start, start + 500):
                client.send("{" if place % 2 else "[]")
            for _ in range(500):
                assert json.loads(client.recv())["status"] == "error"
        client.send(_CALL + "}")
        assert json.loads(client.recv())["status"] == "complete"


def test_fragments_pings_and_frames_that_are_no_text() -> None:
    with serving(make_services(FakeEngine())) as port:
        with connect(f"ws://127.0.0.1:{port}/") as client:
            client.recv()
            client.send(each for each in _CALL + "}")
            assert json.loads(client.recv())["status"] == "complete"
            assert client.ping(b"are you there").wait(20)
            client.send(b"\x00\x01")
            assert json.loads(client.recv())["status"] == "error"
        with connect(f"ws://127.0.0.1:{port}/ws") as client:
            client.recv()
            client.send("x" * (1 << 20) + "y")
            with pytest.raises(ConnectionClosed) as closed:
                client.recv()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009
        with connect(f"ws://127.0.0.1:{port}/ws") as client:
            client.recv()
            client.send(b'{"id": "\xff"}', text=True)
            with pytest.raises(ConnectionClosed) as closed:
                client.recv()
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1007


def test_connections_that_break_off_leave_nothing_behind() -> None:
    engine = FakeEngine()
    engine.gate = asyncio.Semaphore(0)
    services = make_services(engine, KnownDirectory(keys_required=True))
    limits = WebSocketLimits(unauthenticated_connections=5)
    with serving(services, limits) as port:
        for place in range(20):
            with connect(f"ws://127.0.0.1:{port}/ws") as client:
                client.recv()
                if place % 2:
                    client.send(json.dumps({"type": "auth", "api_key": ACME_KEY}))
                    client.recv()
                    client.recv()
                    call = {"id": "1", "function": "generate", "params": {"prompt": "p"}}
                    client.send(json.dumps(call))
                client.socket.shutdown(socket.SHUT_RDWR)
        with connect(f"ws://127.0.0.1:{port}/ws") as client:
            assert json.loads(client.recv())["type"] == "auth_required"
    assert services.admission.running == 0
    assert all(each.is_cancelled for each in engine.generations)


def test_a_client_that_does_not_read_holds_up_its_own_generation_alone() -> None:
    engine = FakeEngine(" ".join(["word" * 4000] * 2000))
    url = "ws://127.0.0.1:{}/ws"
    with (
        serving(make_services(engine)) as port,
        connect(url.format(port), compression=None, max_queue=1) as slow,
    ):
        slow.recv()
        params = {"prompt": "p", "stream": True, "max_tokens": 2000}
        slow.send(json.dumps({"id": "1", "function": "generate", "params": params}))
        with connect(url.format(port)) as other:
            other.recv()
            params = {"prompt": "p", "max_tokens": 5}
            other.send(json.dumps({"id": "1", "function": "generate", "params": params}))
            assert json.loads(other.recv())["status"] == "complete"
            for place in range(300):
                other.send(json.dumps({"id": str(place), "function": "health"}))
                other.recv()
        # 64 MB were to be said; what fits into sockets' buffers was taken from the engine.
        assert 0 < engine.generations[0]._taken < 1500
        slow.socket.shutdown(socket.SHUT_RDWR)
    assert engine.generations[0].is_cancelled


def test_close_codes_of_clients_are_no_errors(caplog: pytest.LogCaptureFixture) -> None:
    with serving(make_services(FakeEngine())) as port:
        for code in (1000, 1001, 3000, 4999):
            with connect(f"ws://127.0.0.1:{port}/ws") as client:
                client.recv()
                client.close(code, "a reason")
            assert client.protocol.close_rcvd == Close(code, "a reason")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
