"""Bodies that no honest client sends: each ends in a 400 that names the field, none in a 5xx."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.server.fakes import FakeEngine
from tests.server.openai.fronts import HEADERS, make_front

from realm.server.front.openai.requests import ChatRequest, CompletionRequest, EmbeddingRequest

CHAT, TEXT, VECTOR = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
GOOD: dict[str, dict[str, Any]] = {
    CHAT: {"model": "tiny", "messages": [{"role": "user", "content": "x"}]},
    TEXT: {"model": "tiny", "prompt": "x"},
    VECTOR: {"model": "tiny", "input": "x"},
}
STRUCTS = {CHAT: ChatRequest, TEXT: CompletionRequest, VECTOR: EmbeddingRequest}
WRONG: list[Any] = [
    True, -1, 0.5, 1e308, 10**30, -(10**30), "", "x", "\x00", "x" * 100_000, [], [[]], [None], {},
    {"a": {}}, [1, "a"], [["a", 1], "b"], {"type": "x"}, {"1": "a"}, [{"role": "x"}],
    {"adapter": [["a"]]}, {"adapter": [["a", 1, 2]]}, {"adapter": [[1, "a"]]}, {"unknown": 1},
    {"adapter": ["a", ["b", 1e300]]}, {"speculation": -1}, {"regex": ""}, {"json_schema": 1},
    [{"role": "user", "content": {"a": 1}}], [{"role": "user"}], [{"role": "tool", "content": ""}],
    [{"role": "user", "content": [{"type": "text"}]}], [{"role": "user", "content": [7]}],
]  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> FakeEngine:
    return FakeEngine("one two")


@pytest.fixture(scope="module")
def client(engine: FakeEngine) -> Iterator[TestClient]:
    with TestClient(make_front(engine, max_requests=4096)) as client:
        client.headers.update({**HEADERS, "content-type": "application/json"})
        yield client


@pytest.mark.parametrize("path", GOOD)
def test_wrong_types_in_every_field(client: TestClient, path: str) -> None:
    for field in STRUCTS[path].__struct_fields__:
        refused = 0
        for value in WRONG:
            answer = client.post(path, content=json.dumps({**GOOD[path], field: value}))
            assert answer.status_code in (200, 400, 404), (field, value, answer.text)
            if answer.status_code == 400:
                error = answer.json()["error"]
                assert error["message"]
                assert error["param"].split(".")[0].split("[")[0] == field, (value, error)
                refused += 1
        assert refused >= 5, field


@pytest.mark.parametrize("path", GOOD)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"null",
        b"7",
        b'"text"',
        b"[]",
        b"{",
        b"{}",
        b'{"model"}',
        b'{"model": "tiny",}',
        b"{'model': 'tiny'}",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b"[" * 1_000_000,
        b'{"a":' * 1_000_000,
        b"\x00" * 1000,
        b"model=tiny&prompt=x",
    ],
    ids=range(17),
)
def test_what_is_no_request(client: TestClient, path: str, body: bytes) -> None:
    answer = client.post(path, content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "value",
    [
        b'"\xff"',
        b'"\xc0\xaf"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\\u12"',
        b"NaN",
        b"-Infinity",
        b"1e999999",
        b"01",
        b"+1",
        b"[" * 200_000 + b"]" * 200_000,
        b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
    ],
    ids=range(13),
)
@pytest.mark.parametrize("field", [b"prompt", b"seed", b"response_format", b"realm", b"ignored"])
def test_texts_and_numbers_that_are_none(client: TestClient, field: bytes, value: bytes) -> None:
    body = b'{"model":"tiny","prompt":"x","%s":%s}' % (field, value)
    answer = client.post(TEXT, content=body)
    if field != b"ignored" or answer.status_code != 200:
        assert answer.status_code == 400


def test_the_last_of_two_equal_fields_counts(client: TestClient, engine: FakeEngine) -> None:
    body = b'{"model":"other","model":"tiny","prompt":"x","seed":1,"seed":2}'
    assert client.post(TEXT, content=body).status_code == 200
    assert engine.generations[-1].call.options["seed"] == 2


def test_the_content_type_must_be_json(client: TestClient) -> None:
    body = json.dumps(GOOD[TEXT])
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        headers = {"content-type": kind, "origin": "https://elsewhere.example"}
        answer = client.post(TEXT, content=body, headers=headers)
        assert answer.status_code == 415
        assert answer.json()["error"]["code"] == "unsupported_media_type"
    for kind in ("application/json; charset=utf-8", "Application/JSON", "application/x+json", ""):
        assert client.post(TEXT, content=body, headers={"content-type": kind}).status_code == 200


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"n": 129}, "n"),
        ({"n": 64, "prompt": ["a", "b", "c"]}, "n"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": ["a", ""]}, "stop[1]"),
        ({"logit_bias": {"1": 1, "01": 2}}, "logit_bias"),
        ({"logit_bias": {"-1": 1}}, "logit_bias"),
        ({"echo": True}, "echo"),
        ({"suffix": "x"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"logprobs": 21}, "logprobs"),
        ({"prompt": [[1], []]}, "prompt[1]"),
        ({"prompt": ["a", [1]]}, "prompt"),
        ({"prompt": [1 << 31]}, "prompt[0]"),
        ({"realm": {"regex": "a", "grammar": "b"}}, "realm"),
        ({"realm": {"regex": "a"}, "response_format": {"type": "json_object"}}, "realm"),
        ({"realm": {"scale": 2}}, "realm.scale"),
        ({"realm": {"adapter": "french"}, "model": "tiny:french"}, "realm.adapter"),
        ({"realm": {"adapter": ["french"] * 17}}, "realm.adapter"),
        ({"realm": {"secret": 1}}, "realm.secret"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ],
)
def test_the_field_is_named(client: TestClient, more: dict[str, Any], param: str) -> None:
    answer = client.post(TEXT, json={**GOOD[TEXT], **more})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("schema", [None, [], 7, "x"])
def test_a_schema_is_an_object(client: TestClient, schema: Any) -> None:
    answer_format = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    answer = client.post(CHAT, json={**GOOD[CHAT], "response_format": answer_format})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "response_format.json_schema.schema"


def test_paths_with_names_that_are_none(client: TestClient) -> None:
    for name in ("..", "%00", "a%2Fb", "x" * 3000, "%ff", "tiny:", "tiny:french:x", "%F0%9F%98%80"):
        answer = client.get(f"/v1/models/{name}")
        assert answer.status_code == 404, name
        assert "gguf" not in answer.text
