"""What a whole front logs while clients use and abuse it: neither keys nor prompts."""

import asyncio
import io
import json
import logging

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

from realm.errors import EngineUnavailableError, RequestError
from realm.server.front.logs import configure_logging
from realm.server.wire.messages import Figures

DIARY = "dear-diary-of-mine"
ANSWER = "an-answer-for-one-alone"
CHAT = "/v1/chat/completions"


@pytest.fixture
def stream():
    """What is logged at the most talkative level; loggers are as before afterwards."""
    names = ("", "realm", "uvicorn", "uvicorn.error", "uvicorn.access", "websockets", "asyncio")
    loggers = [logging.getLogger(name) for name in (*names, "sqlalchemy", "httpx", "httpcore")]
    before = [(each.level, each.propagate, list(each.handlers)) for each in loggers]
    told = io.StringIO()
    configure_logging("debug", stream=told)
    yield told
    for each, (level, propagate, handlers) in zip(loggers, before, strict=True):
        each.setLevel(level)
        each.propagate = propagate
        each.handlers[:] = handlers


class Breaking(FiguresEngine):
    """A defect that quotes what the client sent."""

    def generate(self, call):
        raise ZeroDivisionError(f"in {call.messages or call.prompt}")


async def _send(engine, *requests):
    app = make_page_app(make_services(engine, FakeDirectory()))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://realm") as client:
        return [(await client.request(*each[:2], **each[2])).status_code for each in requests]


def _chat(content=DIARY, key=KEY, **more):
    body = {"model": "smollm2", "messages": [{"role": "user", "content": content}], **more}
    return "POST", CHAT, {"json": body, "headers": {"authorization": f"Bearer {key}"}}


def _lines(stream):
    text = stream.getvalue()
    for secret in (DIARY, ANSWER, KEY[-12:], ADMIN_KEY[-12:], "wrong-key-of-someone"):
        assert secret not in text
    return [json.loads(line) for line in text.splitlines()]


def test_generations(stream):
    engine = FiguresEngine(f"{ANSWER} and more")
    statuses = asyncio.run(_send(engine, _chat(), _chat(stream=True), _chat(stop=[DIARY])))
    assert statuses == [200, 200, 200]
    lines = _lines(stream)
    generations = [each for each in lines if each["message"] == "generation"]
    requests = [each for each in lines if each["message"] == "request"]
    assert [each["tenant"] for each in generations] == ["acme"] * 3
    assert {(each["route"], each["status"]) for each in requests} == {(CHAT, 200)}
    # Both lines of a request are found by its id.
    assert {each["request_id"] for each in generations} == {each["request_id"] for each in requests}


def test_what_is_refused(stream):
    bad = {"content": f'{{"prompt": "{DIARY}', "headers": {"authorization": f"Bearer {KEY}"}}
    statuses = asyncio.run(
        _send(
            FiguresEngine(),
            _chat(key="wrong-key-of-someone"),
            _chat(key=ADMIN_KEY),
            _chat(temperature=DIARY),
            _chat(model=DIARY),
            ("POST", CHAT, bad),
            ("GET", f"/{DIARY}?key={KEY}", {"headers": {"authorization": KEY}}),
            ("GET", "/metrics", {"headers": {"x-api-key": ADMIN_KEY, "x-request-id": DIARY * 9}}),
        )
    )
    assert statuses == [401, 401, 400, 404, 400, 404, 401]
    requests = [each for each in _lines(stream) if each["message"] == "request"]
    assert [each["status"] for each in requests] == statuses
    assert requests[5]["route"] == "unmatched"


def test_what_breaks(stream):
    engine = FiguresEngine()
    engine.error = RequestError(f"no: {DIARY}")
    lost = FiguresEngine()
    lost.error = EngineUnavailableError("the engine was lost")
    assert asyncio.run(_send(engine, _chat(), _chat(stream=True)))[0] == 400
    assert asyncio.run(_send(lost, _chat())) == [503]
    assert asyncio.run(_send(Breaking(), _chat())) == [500]
    errors = [each["error"] for each in _lines(stream) if "error" in each]
    assert "ZeroDivisionError" in {each["type"] for each in errors}


def test_reads_are_quiet_at_the_usual_level(stream):
    configure_logging("info", stream=stream)
    engine = FiguresEngine()
    engine.now = Figures(0, {}, {})
    key = {"headers": {"authorization": f"Bearer {KEY}"}}
    reads = [("GET", path, key) for path in ("/", "/page/main.js", "/v1/figures", "/v1/models")]
    assert asyncio.run(_send(engine, *reads)) == [200] * 4
    assert _lines(stream) == []
