"""The OpenAPI description: true of every route, and of every answer that schemathesis draws."""

import re
from collections import Counter
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi import checks
from starlette.testclient import TestClient
from tests.server.admin.admin_front import admin_front
from tests.server.fakes import FakeEngine
from tests.server.openai.fronts import HEADERS, make_front

from realm.server.front.access import MarkedRoute

APP = make_front(FakeEngine("one two"), max_requests=4096)
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP)
CHECKS: list[CheckFunction] = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


# Fields whose values are refused, most of them whatever they are.
NOT_OFFERED = (
    "best_of", "dimensions", "echo", "functions", "modalities", "n", "realm", "response_format",
    "suffix", "tools", "top_logprobs",
)  # fmt: skip
STATUSES: Counter[tuple[str, int]] = Counter()


@SCHEMA.parametrize()
@settings(
    max_examples=16,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_answers_are_as_described(case: Case) -> None:
    answer = case.call_and_validate(headers=HEADERS, checks=CHECKS)
    STATUSES[case.path, answer.status_code] += 1
    if isinstance(case.body, dict) and "model" in case.body:
        # The same with a model and messages that are taken, so that it gets further.
        given = {name: value for name, value in case.body.items() if name not in NOT_OFFERED}
        case.body = {**given, "model": "tiny", "messages": [{"role": "user", "content": "x"}]}
        answer = case.call_and_validate(headers=HEADERS, checks=CHECKS)
        STATUSES[case.path, answer.status_code] += 1


def test_requests_got_through_and_were_refused() -> None:
    if not STATUSES:
        pytest.fail("the test before this one has to run too")
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
        assert STATUSES[path, 200] >= 5, STATUSES
    assert STATUSES["/v1/chat/completions", 400] >= 1, STATUSES


def test_every_route_is_described(tmp_path: Path) -> None:
    with admin_front(tmp_path) as front:
        document = front.client.get("/openapi.json").json()
        routes = [each for each in front.client.app.routes if isinstance(each, MarkedRoute)]
    assert document["openapi"] == "3.1.0"
    wants = {"open": [], "tenant": [{"tenant": []}], "admin": [{"admin": []}]}
    names = []
    for route in routes:
        if route.path == "/openapi.json":
            continue
        for method in route.methods - {"HEAD"}:
            operation = document["paths"][re.sub(":[a-z]+}", "}", route.path)][method.lower()]
            assert operation["security"] == wants[route.access]
            assert operation["summary"]
            assert [each["name"] for each in operation.get("parameters", [])] == list(
                route.param_convertors
            )
            names.append(operation["operationId"])
    assert len(set(names)) == len(names)
    text = str(document)
    for name in re.findall(r"'#/components/schemas/(\w+)'", text):
        assert name in document["components"]["schemas"]
    assert "/srv" not in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("field", ["messages", "model", "temperature", "realm", "response_format"])
def test_fields_of_a_conversation_are_described(field: str) -> None:
    document = TestClient(APP).get("/openapi.json").json()
    fields = document["components"]["schemas"]["ChatRequest"]["properties"]
    assert field in fields
