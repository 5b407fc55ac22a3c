"""Lines of the log: JSON, whole, and never with a key or a prompt."""

import io
import json
import logging
import sys

import pytest

from realm.errors import ConfigError, RequestError
from realm.server.front.logs import STRUCK_OUT, RealmFormatter, configure_logging, strike_out

KEY = "realm_Ab12Cd34_0123456789abcdefGHIJKLMNOPqrstuv-_xyz"
SECRET = KEY.rpartition("_Ab12Cd34_")[2] or KEY[15:]


@pytest.fixture
def restored():
    """The loggers are what they were before, after the test."""
    names = ["", "realm", "uvicorn", "uvicorn.error", "uvicorn.access", "websockets", "sqlalchemy"]
    names += ["httpcore", "httpx", "asyncio", "wasmtime"]
    loggers = [logging.getLogger(name) for name in names]
    before = [(each.level, each.propagate, list(each.handlers)) for each in loggers]
    yield
    for each, (level, propagate, handlers) in zip(loggers, before, strict=True):
        each.setLevel(level)
        each.propagate = propagate
        each.handlers[:] = handlers


def _line(message="said", *arguments, error=None, as_json=True, with_content=False, **fields):
    trouble = (type(error), error, error.__traceback__) if error is not None else None
    record = logging.LogRecord(
        "realm.server", logging.INFO, __file__, 1, message, arguments, trouble
    )
    vars(record).update(fields)
    line = RealmFormatter(as_json=as_json, with_content=with_content).format(record)
    assert "\n" not in line
    assert "\r" not in line
    return json.loads(line) if as_json else line


def test_a_line():
    told = _line("generation of %d", 7, request_id="r-1", tenant="acme", seconds=0.5, none=None)
    assert told.pop("timestamp").endswith("+00:00")
    assert told == {
        "level": "info",
        "logger": "realm.server",
        "message": "generation of 7",
        "request_id": "r-1",
        "tenant": "acme",
        "seconds": 0.5,
        "none": None,
    }


def test_a_line_of_text():
    line = _line("it began\nfalse line", as_json=False, tenant="acme\nfalse")
    assert line.endswith('realm.server: it began\\nfalse line tenant="acme\\nfalse"')


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"key={KEY}",
        f"GET /v1/models?key={KEY}&x=1",
        f"({KEY})",
        f"Bearer {KEY}",
        f"Authorization: Bearer {KEY}",
        f"[(b'authorization', b'Bearer {KEY}')]",
        f'{{"Authorization": "Bearer {KEY}"}}',
        f"{{'api_key': '{KEY}'}}",
        f'{{"type":"auth","api_key":"{KEY}"}}',
        f"api-key={KEY}; other",
        f"{KEY}{KEY}",
        f"{KEY},{KEY}",
        "x" * 5000 + KEY,
    ],
)
def test_keys_are_struck_out_wherever_they_stand(text):
    for told in (
        _line(text),
        _line("%s", text),
        _line("%r", text.encode()),
        _line(note=text),
        _line(deep={"a": [{"b": (text,)}]}),
        _line(**{text: 1}),
        _line(error=RequestError(text), with_content=True),
        _line(with_content=True, prompt=text),
        _line(text, as_json=False, note=text),
    ):
        assert SECRET not in json.dumps(told)


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer sk-some-other-kind-of-key",
        "authorization='Basic dXNlcjpwYXNzd29yZA=='",
        "Proxy-Authorization: Token abcdefgh",
        "sent Bearer abcdefghijkl.mnop",
        "Cookie: session=abcdefgh",
    ],
)
def test_headers_with_other_secrets_are_struck_out(text):
    told = strike_out(text)
    assert STRUCK_OUT in told
    for secret in ("sk-some", "dXNlcjpw", "abcdefgh"):
        assert secret not in told


@pytest.mark.parametrize(
    "text",
    [
        "realm_session_sample failed",
        "realm_generations_total",
        "authorization failed for acme",
        "listening on http://127.0.0.1:8000",
        "the bearer of it",
    ],
)
def test_what_is_no_key_stays(text):
    assert strike_out(text) == text


@pytest.mark.parametrize(
    "field", ["prompt", "messages", "Content", "text", "input", "token_ids", "body", "data"]
)
def test_prompts_are_left_out_unless_turned_on(field):
    told = _line(**{field: "my diary"}, deep={"request": {field: ["my diary"]}})
    assert "diary" not in json.dumps(told)
    assert _line(**{field: "my diary"}, with_content=True)[field] == "my diary"


@pytest.mark.parametrize("field", ["key", "Authorization", "api_key", "password", "database_url"])
def test_secrets_are_left_out_even_then(field):
    assert _line(**{field: "hunter2"}, with_content=True)[field] == STRUCK_OUT


def test_an_error_tells_its_class_and_place_and_not_what_it_quotes():
    try:
        try:
            raise KeyError("my diary")
        except KeyError as error:
            raise RequestError("no such thing: my diary") from error
    except RequestError as error:
        caught = error
    told = _line("failed", error=caught)
    assert told["error"]["type"] == "RequestError"
    assert told["error"]["cause"] == "KeyError"
    assert "test_logs.py" in told["error"]["frames"][-1]
    assert "diary" not in json.dumps(told)
    assert "diary" not in json.dumps(_line("failed", caught=caught))
    assert _line("failed", error=caught, with_content=True)["error"]["message"]


class _Hostile:
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    "value",
    [
        _Hostile(),
        float("nan"),
        float("-inf"),
        10**400,
        "\ud800 lone",
        b"\xff\x00",
        {1: {2: {3: {4: {5: {6: "deep"}}}}}},
        [[[[[[[["deep"]]]]]]]],
        {("a", 1): object()},
        "x" * 10_000_000,
        list(range(1_000_000)),
        "a\u2028b\nc\x00\x1b[2J",
    ],
    ids=range(12),
)
def test_every_value_gives_one_line_of_bounded_size(value):
    told = _line("%s", "x", value=value)
    assert len(json.dumps(told)) < 30_000
    assert json.dumps(told).isascii()
    _line("said", as_json=False, value=value)


def test_values_that_hold_themselves():
    loop = []
    loop.append(loop)
    assert _line(value=loop)["message"] == "said"


@pytest.mark.parametrize("arguments", [(1, 2, 3), ("x",), (_Hostile(),)])
def test_a_message_that_cannot_be_made_is_told_as_it_stands(arguments):
    assert "%d" in _line("%d %d", *arguments)["message"]


def test_fields_cannot_pose_as_the_lines_own():
    told = _line("said", level="fatal", logger="root", timestamp="never")
    assert (told["level"], told["logger"]) == ("info", "realm.server")
    assert told["timestamp"] != "never"


def test_configured_loggers(restored):
    stream = io.StringIO()
    configure_logging("debug", stream=stream)
    logging.getLogger("realm.server").debug("ours")
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("uvicorn.access").info("GET /?q=my+diary")
    logging.getLogger("uvicorn.access").error("GET /?q=my+diary")
    logging.getLogger("websockets.server").debug("< TEXT my diary")
    logging.getLogger("sqlalchemy.engine").info("INSERT my diary")
    logging.getLogger("elsewhere").info("quiet")
    logging.getLogger("elsewhere").warning("heard")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [each["message"] for each in lines] == ["ours", "started", "heard"]


def test_configured_twice_tells_once_and_at_the_level(restored):
    stream = io.StringIO()
    configure_logging("info", stream=stream)
    configure_logging("warning", "text", stream=stream)
    logging.getLogger("realm.server").info("not told")
    logging.getLogger("realm.server").warning("told")
    assert stream.getvalue().count("\n") == 1
    with pytest.raises(ConfigError, match="verbose"):
        configure_logging("verbose")


def test_lines_go_to_the_standard_error(restored, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging()
    logging.getLogger("realm").error("here")
    assert json.loads(stream.getvalue())["message"] == "here"
