"""Every message of the WebSocket protocol, as a client sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect
from tests.server.fakes import FakeEngine
from tests.server.web_socket_server import (
    ACME,
    ACME_KEY,
    ADMIN_KEY,
    GLOBEX_KEY,
    KnownDirectory,
    make_services,
    make_socket_app,
)

from realm.errors import (
    CapacityError,
    ConstraintError,
    ContextLengthError,
    EngineUnavailableError,
    NativeError,
    RateLimitError,
    RequestError,
)
from realm.server.definitions import Limits, Tenant
from realm.server.front.websocket.limits import WebSocketLimits

TEXT = "The capital of France is Paris."
CONNECTED = {"status": "connected", "version": version("realm"), "tenant_id": "default"}


@contextmanager
def connected(
    engine: FakeEngine,
    directory: KnownDirectory | None = None,
    path: str = "/ws",
    limits: WebSocketLimits | None = None,
    headers: dict[str, str] | None = None,
    **settings: Any,
) -> Iterator[WebSocketTestSession]:
    """A connection before its first frame was read."""
    app = make_socket_app(make_services(engine, directory, **settings), limits)
    with TestClient(app).websocket_connect(path, headers=headers or {}) as session:
        yield session


def ask(session: WebSocketTestSession, call_id: str, function: str, **params: Any) -> Any:
    """The frame that answers the call."""
    session.send_json({"id": call_id, "function": function, "params": params})
    frame = session.receive_json()
    assert frame["id"] == call_id
    return frame


def authenticated(session: WebSocketTestSession, key: str) -> None:
    assert session.receive_json()["type"] == "auth_required"
    session.send_json({"type": "auth", "api_key": key})
    assert session.receive_json()["type"] == "auth_success"
    assert session.receive_json()["status"] == "connected"


@pytest.mark.parametrize("path", ["/ws", "/"])
def test_without_keys_a_connection_is_greeted_at_once(path: str) -> None:
    with connected(FakeEngine(), path=path) as session:
        assert session.receive_json() == CONNECTED


def test_with_keys_the_key_comes_first() -> None:
    with connected(FakeEngine(), KnownDirectory(keys_required=True)) as session:
        asked = session.receive_json()
        assert asked["type"] == "auth_required"
        assert set(asked) == {"type", "message"}
        session.send_json({"type": "auth", "api_key": ACME_KEY})
        assert session.receive_json() == {"type": "auth_success", "tenant_id": "acme"}
        assert session.receive_json() == CONNECTED | {"tenant_id": "acme"}
        assert ask(session, "1", "health")["status"] == "complete"


@pytest.mark.parametrize(
    "first",
    [
        '{"type": "auth", "api_key": "realm_acme01_wrong"}',
        f'{{"type": "auth", "api_key": "{ADMIN_KEY}"}}',
        '{"type": "auth", "api_key": ""}',
        '{"type": "auth", "api_key": null}',
        '{"type": "auth"}',
        f'{{"type": "other", "api_key": "{ACME_KEY}"}}',
        f'{{"api_key": "{ACME_KEY}"}}',
        f'["auth", "{ACME_KEY}"]',
        '{"id": "1", "function": "generate", "params": {"prompt": "x"}}',
        '{"id": "1", "function": "metadata"}',
        "not JSON",
        "[" * 20_000,
        "",
    ],
)
def test_whatever_is_no_good_key_is_told_so_and_sent_away(first: str) -> None:
    engine = FakeEngine()
    with connected(engine, KnownDirectory(keys_required=True)) as session:
        session.receive_json()
        session.send_text(first)
        failed = session.receive_json()
        assert failed["type"] == "auth_failed"
        assert "secret" not in failed["error"]
        with pytest.raises(WebSocketDisconnect) as closed:
            session.receive_json()
        assert closed.value.code == 1008
    assert engine.generations == []


def test_a_key_in_a_binary_frame_is_none() -> None:
    with connected(FakeEngine(), KnownDirectory(keys_required=True)) as session:
        session.receive_json()
        session.send_bytes(b'{"type": "auth", "api_key": "' + ACME_KEY.encode() + b'"}')
        assert session.receive_json()["type"] == "auth_failed"


def test_a_client_that_sends_no_key_in_time_is_sent_away() -> None:
    limits = WebSocketLimits(authentication_seconds=0.02)
    with connected(FakeEngine(), KnownDirectory(keys_required=True), limits=limits) as session:
        session.receive_json()
        assert session.receive_json()["type"] == "auth_failed"
        with pytest.raises(WebSocketDisconnect):
            session.receive_json()


def test_the_limit_is_ten_seconds_where_nobody_sets_another() -> None:
    assert WebSocketLimits().authentication_seconds == 10.0


def test_tenant_ids_of_calls_with_keys() -> None:
    engine = FakeEngine()
    with connected(engine, KnownDirectory(keys_required=True)) as session:
        authenticated(session, ACME_KEY)
        call = {"id": "1", "function": "generate", "params": {"prompt": "x"}}
        session.send_json(call)
        assert session.receive_json()["status"] == "complete"
        session.send_json(call | {"tenant_id": "acme"})
        assert session.receive_json()["status"] == "complete"
        for other in ("globex", "nobody", ""):
            session.send_json(call | {"tenant_id": other})
            refused = session.receive_json()
            assert refused["error"]["code"] == "UNAUTHORIZED"
            # The same whether the other is there or not.
            assert other == "" or other not in refused["error"]["message"]
    assert [each.call.tenant_id for each in engine.generations] == ["acme", "acme"]


def test_tenant_ids_of_calls_without_keys() -> None:
    engine = FakeEngine()
    with connected(engine) as session:
        session.receive_json()
        for tenant_id in ("acme", "nobody"):
            session.send_json(
                {
                    "id": "1",
                    "function": "generate",
                    "params": {"prompt": "x"},
                    "tenant_id": tenant_id,
                }
            )
            assert session.receive_json()["status"] == "complete"
    assert [each.call.tenant_id for each in engine.generations] == ["acme", "default"]


def test_a_key_that_was_disabled_opens_nothing_more() -> None:
    directory = KnownDirectory(keys_required=True)
    with connected(FakeEngine(), directory) as session:
        authenticated(session, ACME_KEY)
        del directory.keys[ACME_KEY]
        assert ask(session, "1", "generate", prompt="x")["error"]["code"] == "UNAUTHORIZED"


def test_limits_that_changed_count_from_the_next_call_on() -> None:
    directory = KnownDirectory(keys_required=True)
    engine = FakeEngine()
    with connected(engine, directory) as session:
        authenticated(session, ACME_KEY)
        directory.keys[ACME_KEY] = Tenant("acme", limits=Limits(max_tokens=2))
        data = ask(session, "1", "generate", prompt="x")["data"]
    assert data["tokens_generated"] == 2
    assert data["text"] == "The capital"


def test_generate_with_what_it_takes_by_itself() -> None:
    engine = FakeEngine()
    with connected(engine) as session:
        session.receive_json()
        answer = ask(session, "a", "generate", prompt="Where?")
    assert answer["status"] == "complete"
    data = answer["data"]
    assert data["text"] == TEXT
    assert (data["tokens_generated"], data["prompt_tokens"]) == (6, 7)
    assert data["time_ms"] >= 0
    call = engine.generations[0].call
    assert (call.prompt, call.messages, call.model) == ("Where?", None, "small")
    assert (call.adapters, call.wants_pieces) == (None, False)
    assert call.options == {
        "max_tokens": 100,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }


def test_generate_with_all_that_it_takes() -> None:
    engine = FakeEngine()
    given = {
        "prompt": "p",
        "model": "large:pirate",
        "max_tokens": 3,
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 4,
        "repetition_penalty": 1.1,
        "seed": 7,
        "stop": ["x", "y"],
        "json_schema": {"type": "string"},
        "min_p": 0.1,
    }
    with connected(engine) as session:
        session.receive_json()
        assert ask(session, "a", "generate", **given)["status"] == "complete"
    call = engine.generations[0].call
    assert (call.model, call.adapters) == ("large", [("pirate", 1.0)])
    for name in ("max_tokens", "temperature", "top_p", "top_k", "seed", "stop", "min_p"):
        assert call.options[name] == given[name]
    assert call.options["json_schema"] == '{"type": "string"}'
    assert call.options["repetition_penalty"] == 1.1


def test_null_counts_as_left_out() -> None:
    engine = FakeEngine()
    with connected(engine) as session:
        session.receive_json()
        assert ask(session, "a", "generate", prompt="p", model=None, top_k=None)["data"]
        assert ask(session, "a", "generate", prompt=None)["error"]["details"]["field"] == "prompt"
        session.send_json({"id": "b", "function": "health", "params": None, "tenant_id": None})
        assert session.receive_json()["status"] == "complete"


def test_streaming() -> None:
    with connected(FakeEngine()) as session:
        session.receive_json()
        session.send_json(
            {"id": "s", "function": "generate", "params": {"prompt": "p", "stream": True}}
        )
        frames = [session.receive_json() for _ in range(8)]
    assert [frame["status"] for frame in frames] == ["streaming"] * 7 + ["complete"]
    assert all(frame["id"] == "s" for frame in frames)
    pieces = [frame["data"] for frame in frames[:-1]]
    assert [piece["index"] for piece in pieces] == list(range(7))
    assert [piece["is_final"] for piece in pieces] == [False] * 6 + [True]
    assert all(piece["token"] == piece["text"] for piece in pieces)
    assert all("logprob" not in piece for piece in pieces)
    assert "".join(piece["text"] for piece in pieces) == TEXT == frames[-1]["data"]["text"]
    assert frames[-1]["data"]["tokens_generated"] == 6


def test_streaming_with_log_probabilities() -> None:
    with connected(FakeEngine()) as session:
        session.receive_json()
        params = {"prompt": "p", "stream": True, "logprobs": True, "max_tokens": 2}
        session.send_json({"id": "s", "function": "generate", "params": params})
        frames = [session.receive_json() for _ in range(4)]
    assert [frame["data"].get("logprob") for frame in frames] == [-0.5, -0.5, None, None]


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({}, "prompt"),
        ({"prompt": 1}, "prompt"),
        ({"prompt": ["a"]}, "prompt"),
        ({"prompt": "p", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "p", "max_tokens": -1}, "max_tokens"),
        ({"prompt": "p", "max_tokens": 1.5}, "max_tokens"),
        ({"prompt": "p", "max_tokens": "5"}, "max_tokens"),
        ({"prompt": "p", "max_tokens": True}, "max_tokens"),
        ({"prompt": "p", "max_tokens": 10**40}, "max_tokens"),
        ({"prompt": "p", "temperature": -0.1}, "temperature"),
        ({"prompt": "p", "temperature": "hot"}, "temperature"),
        ({"prompt": "p", "top_p": 0}, "top_p"),
        ({"prompt": "p", "top_p": 1.1}, "top_p"),
        ({"prompt": "p", "top_k": -1}, "top_k"),
        ({"prompt": "p", "repetition_penalty": 0}, "repetition_penalty"),
        ({"prompt": "p", "stream": "yes"}, "stream"),
        ({"prompt": "p", "model": 3}, "model"),
        ({"prompt": "p", "model": "none"}, "model"),
        ({"prompt": "p", "model": "../../etc/passwd"}, "model"),
        ({"prompt": "p", "adapter": {}}, "adapter"),
        ({"prompt": "p", "model": "small:pirate", "adapter": "pirate"}, "adapter"),
        ({"prompt": "p", "seed": -1}, "seed"),
        ({"prompt": "p", "stop": [1]}, "stop"),
        ({"prompt": "p", "max_token": 5}, "max_token"),
        ({"prompt": "p", "__class__": 5}, "__class__"),
    ],
)
def test_wrong_parameters_are_named(params: dict[str, Any], field: str) -> None:
    engine = FakeEngine()
    with connected(engine) as session:
        session.receive_json()
        error = ask(session, "1", "generate", **params)["error"]
        assert error["code"] == "INVALID_PARAMS"
        assert error["details"]["field"].partition("[")[0] == field
        assert ask(session, "2", "health")["status"] == "complete"
    assert engine.generations == []


@pytest.mark.parametrize(
    ("raised", "code", "retry_after"),
    [
        (RateLimitError("all requests of this minute are used", 2.5), "RATE_LIMIT_EXCEEDED", 2.5),
        (EngineUnavailableError("the engine was lost", 0.5), "INTERNAL_ERROR", 0.5),
        (CapacityError("no pages"), "INTERNAL_ERROR", 1.0),
        (ContextLengthError("9 tokens, and 8 fit"), "INVALID_PARAMS", None),
        (ConstraintError("json_schema: no such type"), "INVALID_PARAMS", None),
        (RequestError("it cannot be served"), "INVALID_PARAMS", None),
        (NativeError("at /opt/realm/native.cpp:7 rows 3 != 4"), "INTERNAL_ERROR", None),
    ],
)
def test_errors_of_the_engine(raised: Any, code: str, retry_after: float | None) -> None:
    engine = FakeEngine()
    engine.error, engine.error_after = raised, 1
    with connected(engine) as session:
        session.receive_json()
        session.send_json(
            {"id": "s", "function": "generate", "params": {"prompt": "p", "stream": True}}
        )
        assert session.receive_json()["data"]["text"] == "The"
        error = session.receive_json()["error"]
    assert error["code"] == code
    assert error.get("retry_after") == retry_after
    if isinstance(raised, NativeError):
        assert "native" not in error["message"] and "rows" not in error["message"]
    if isinstance(raised, ConstraintError):
        assert error["details"]["field"] == "json_schema"


def test_a_defect_tells_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine()
    engine.error = RuntimeError("secret thing in line 3")  # type: ignore[assignment]
    with connected(engine) as session:
        session.receive_json()
        error = ask(session, "1", "generate", prompt="p")["error"]
        engine.error = None
        assert ask(session, "2", "generate", prompt="p")["status"] == "complete"
    assert error["code"] == "INTERNAL_ERROR"
    assert "secret" not in str(error)
    assert any(record.levelname == "ERROR" for record in caplog.records)


def test_quotas_are_told_with_when_to_come_back() -> None:
    directory = KnownDirectory(default=Tenant("default", limits=Limits(requests_per_minute=1)))
    with connected(FakeEngine(), directory) as session:
        session.receive_json()
        answers = [ask(session, str(each), "generate", prompt="p") for each in range(3)]
    assert answers[0]["status"] == "complete"
    assert answers[-1]["error"]["code"] == "RATE_LIMIT_EXCEEDED"
    assert answers[-1]["error"]["retry_after"] > 0


def test_an_engine_that_is_away() -> None:
    engine = FakeEngine()
    engine.is_ready = False
    with connected(engine) as session:
        session.receive_json()
        assert ask(session, "1", "health")["data"]["status"] == "unavailable"
        error = ask(session, "2", "generate", prompt="p")["error"]
        engine.is_ready = True
        assert ask(session, "3", "health")["data"]["status"] == "healthy"
    assert (error["code"], error["retry_after"]) == ("INTERNAL_ERROR", 2.0)


@pytest.mark.parametrize("name", ["nothing", "GENERATE", "__init__", "generate "])
def test_an_unknown_function(name: str) -> None:
    with connected(FakeEngine()) as session:
        session.receive_json()
        assert ask(session, "1", name)["error"]["code"] == "DISPATCH_ERROR"


def test_metadata_tells_every_function_with_its_parameters() -> None:
    with connected(FakeEngine()) as session:
        session.receive_json()
        data = ask(session, "1", "metadata")["data"]
        functions = {each["name"]: each["parameters"] for each in data["functions"]}
        assert data["version"] == version("realm")
        assert {"generate", "pipeline", "health", "metadata"} <= set(functions)
        told = {each["name"]: each for each in functions["generate"]}
        assert told["prompt"] == {"name": "prompt", "type": "string", "required": True}
        defaults = {
            "model": None,
            "max_tokens": 100,
            "temperature": 0.7,
            "top_p": 0.9,
            "top_k": 0,
            "repetition_penalty": 1.0,
            "stream": False,
        }
        assert {name: told[name]["default"] for name in defaults} == defaults
        assert not any(told[name]["required"] for name in defaults)
        assert [each["name"] for each in functions["pipeline"]] == ["pipeline", "input"]
        assert ask(session, "2", "metadata", what=1)["error"]["code"] == "INVALID_PARAMS"


def test_metadata_shows_a_tenant_its_own_models() -> None:
    directory = KnownDirectory(default=Tenant("default", models=("large",)))
    with connected(FakeEngine(), directory) as session:
        session.receive_json()
        assert ask(session, "1", "metadata")["data"]["models"] == ["large"]
        assert ask(session, "2", "generate", prompt="p")["status"] == "complete"
        error = ask(session, "3", "generate", prompt="p", model="small")["error"]
    assert (error["code"], error["details"]["field"]) == ("INVALID_PARAMS", "model")


def test_pipeline(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        "id: one\n"
        "inputs: {text: {type: string}}\n"
        "steps: [{id: a, model_type: chat, input: 'Say {{ inputs.text }}'}]\n"
        "output: $steps.a.output\n"
    )
    engine = FakeEngine()
    with connected(engine, pipelines=tmp_path) as session:
        session.receive_json()
        for given in ({"text": "it"}, "it"):
            data = ask(session, "1", "pipeline", pipeline="one", input=given)["data"]
            assert data["output"] == TEXT
            assert data["steps"][0]["id"] == "a"
            assert (data["tokens_generated"], data["prompt_tokens"]) == (6, 7)
        wrong = ask(session, "2", "pipeline", pipeline="one", input={"words": "it"})["error"]
        missing = ask(session, "3", "pipeline", pipeline="two", input={})["error"]
        engine.error = RateLimitError("used up", 3.0)
        failed = ask(session, "4", "pipeline", pipeline="one", input="it")["error"]
    assert engine.generations[0].call.messages == [{"role": "user", "content": "Say it"}]
    assert (wrong["code"], wrong["details"]["field"]) == ("INVALID_PARAMS", "input.words")
    assert (missing["code"], missing["details"]["field"]) == ("INVALID_PARAMS", "pipeline")
    assert (failed["code"], failed["retry_after"]) == ("RATE_LIMIT_EXCEEDED", 3.0)
    assert failed["details"]["step"] == "a"


def test_a_call_is_cancelled_by_its_id() -> None:
    engine = FakeEngine()
    engine.gate = asyncio.Semaphore(0)
    with connected(engine) as session:
        session.receive_json()
        session.send_json(
            {"id": "s", "function": "generate", "params": {"prompt": "p", "stream": True}}
        )
        session.send_json({"id": "c", "function": "cancel", "params": {"id": "s"}})
        frames = [session.receive_json(), session.receive_json()]
        assert {"id": "s", "status": "cancelled"} in frames
        done = {"id": "c", "status": "complete", "data": {"id": "s", "cancelled": True}}
        assert done in frames
        assert engine.generations[0].is_cancelled
        engine.gate = None
        assert ask(session, "c", "cancel", id="s")["data"]["cancelled"] is False
        assert ask(session, "c", "cancel", id="c")["data"]["cancelled"] is False
        assert ask(session, "s", "generate", prompt="p")["status"] == "complete"


def test_a_tenant_has_so_many_connections_and_no_more() -> None:
    limits = WebSocketLimits(tenant_connections=1)
    app = make_socket_app(make_services(FakeEngine()), limits)
    with TestClient(app) as client:
        with client.websocket_connect("/ws") as first:
            first.receive_json()
            with client.websocket_connect("/") as second:
                assert second.receive_json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
                with pytest.raises(WebSocketDisconnect):
                    second.receive_json()
            assert ask(first, "1", "health")["status"] == "complete"
        with client.websocket_connect("/ws") as third:
            assert third.receive_json()["status"] == "connected"


def test_so_many_connections_wait_for_their_keys_and_no_more() -> None:
    limits = WebSocketLimits(unauthenticated_connections=1)
    services = make_services(FakeEngine(), KnownDirectory(keys_required=True))
    app = make_socket_app(services, limits)
    with TestClient(app) as client, client.websocket_connect("/ws") as first:
        first.receive_json()
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/"):
            pass
        assert refused.value.status_code == 503
        first.send_json({"type": "auth", "api_key": GLOBEX_KEY})
        assert first.receive_json()["tenant_id"] == "globex"
        first.receive_json()
        with client.websocket_connect("/ws") as second:
            assert second.receive_json()["type"] == "auth_required"


def test_an_idle_connection_is_closed() -> None:
    with connected(FakeEngine(), limits=WebSocketLimits(idle_seconds=0.02)) as session:
        session.receive_json()
        with pytest.raises(WebSocketDisconnect) as closed:
            session.receive_json()
    assert closed.value.code == 1001


def test_a_connection_on_which_something_runs_is_not_idle() -> None:
    engine = FakeEngine()

    class ShortOnceBusy(WebSocketLimits):
        @property
        def idle_seconds(self) -> float:  # type: ignore[override]
            return 0.001 if engine.generations else 60.0

        @idle_seconds.setter
        def idle_seconds(self, value: float) -> None:
            pass

    engine.gate = asyncio.Semaphore(0)
    with connected(engine, limits=ShortOnceBusy()) as session:
        session.receive_json()
        session.send_json(
            {"id": "s", "function": "generate", "params": {"prompt": "p", "stream": True}}
        )
        assert ask(session, "h", "health")["status"] == "complete"
        for _ in range(6):
            session.portal.call(engine.gate.release)
            assert session.receive_json()["status"] == "streaming"
        assert session.receive_json()["data"]["is_final"]
        assert session.receive_json()["status"] == "complete"
        with pytest.raises(WebSocketDisconnect):
            session.receive_json()


@pytest.mark.parametrize(
    ("origin", "is_taken"),
    [
        (None, True),
        ("http://testserver", True),
        ("http://testserver:80", True),
        ("http://evil.example", False),
        ("http://testserver:81", False),
        ("http://testserver.evil.example", False),
        ("null", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_without_keys_pages_of_other_origins_are_refused(
    origin: str | None, is_taken: bool
) -> None:
    headers = {} if origin is None else {"origin": origin}
    if is_taken:
        with connected(FakeEngine(), headers=headers) as session:
            assert session.receive_json() == CONNECTED
        return
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        connected(FakeEngine(), headers=headers),
    ):
        pass
    assert refused.value.status_code == 403


def test_with_keys_any_page_may_ask_for_one() -> None:
    headers = {"origin": "http://elsewhere.example"}
    directory = KnownDirectory(keys_required=True)
    with connected(FakeEngine(), directory, headers=headers) as session:
        authenticated(session, ACME_KEY)


def test_neither_keys_nor_prompts_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with connected(FakeEngine(), KnownDirectory(keys_required=True)) as session:
        authenticated(session, ACME_KEY)
        ask(session, "id-of-a-client", "generate", prompt="a private question", max_tokens=2)
        ask(session, "x", "generate", prompt=["a private question"])
    with connected(FakeEngine(), KnownDirectory(keys_required=True)) as session:
        session.receive_json()
        session.send_json({"type": "auth", "api_key": "realm_acme01_guessed-by-someone"})
        session.receive_json()
    written = "\n".join(str(vars(record)) for record in caplog.records)
    assert "generation" in written and ACME.tenant_id in written
    for secret in (ACME_KEY, "guessed-by-someone", "private question", "id-of-a-client", TEXT[:9]):
        assert secret not in written
