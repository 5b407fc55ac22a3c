"""Errors as clients see them: each class of the tree on purpose, and no path of the machine."""

import inspect
import logging

import pytest
from starlette.exceptions import HTTPException

from realm import errors
from realm.errors import (
    ConfigError,
    ConstraintError,
    FieldError,
    PipelineInputError,
    PipelineStepError,
    RateLimitError,
    RealmError,
)
from realm.runtime.faults import host_fault
from realm.server.front import failures
from realm.server.front.failures import error_response, failure_of, without_paths

PATHS = [
    "/srv/models/secret.gguf",
    "~/models/secret.gguf",
    "/home/someone/data/items/a b/x.bin",
    "C:\\Users\\someone\\secret.gguf",
    "file:///var/lib/realm/secret.db",
]


def every_class() -> list[type[RealmError]]:
    return [
        each
        for _, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, RealmError)
    ]


def made(kind: type[RealmError], message: str) -> RealmError:
    if kind is PipelineStepError:
        return PipelineStepError("first", ConfigError(message))
    return kind(message, "field") if kind is PipelineInputError else kind(message)


@pytest.mark.parametrize("kind", every_class(), ids=lambda kind: kind.__name__)
def test_each_class_has_an_answer_of_its_own(
    kind: type[RealmError], caplog: pytest.LogCaptureFixture
) -> None:
    assert kind in failures._ANSWERS
    for path in PATHS:
        caplog.clear()
        with caplog.at_level(logging.ERROR):
            failure = failure_of(made(kind, f"layer 3: '{path}': cannot be read"))
        assert 400 <= failure.status < 600
        assert failure.code
        assert failure.kind in (
            "invalid_request_error",
            "authentication_error",
            "rate_limit_error",
            "server_error",
        )
        for part in ("/srv", "/home", "someone", "~/", "file:", "/var", "models/"):
            assert part not in failure.message
        if failure.status == 500:
            assert "layer" not in failure.message
            assert caplog.records, "nobody would ever know why"
        response = error_response(made(kind, "x"))
        assert response.status_code == failure.status
        assert ("retry-after" in response.headers) == (failure.status in (429, 503))
        assert ("www-authenticate" in response.headers) == (failure.status == 401)


def test_a_class_that_is_not_of_the_tree_is_the_servers_own() -> None:
    for error in (ValueError("/etc/passwd"), RecursionError(), HTTPException(502, "upstream /a/b")):
        failure = failure_of(error)
        assert failure.status in (500, 502)
        assert "passwd" not in failure.message
        assert "upstream" not in failure.message


def test_a_new_kind_of_a_known_error_is_told_like_it() -> None:
    class StricterError(ConstraintError):
        pass

    failure = failure_of(StricterError("json_schema: x"))
    assert (failure.status, failure.parameter) == (400, "response_format")


@pytest.mark.parametrize(
    ("error", "parameter"),
    [
        (FieldError("x", "messages[1].role"), "messages[1].role"),
        (FieldError("x"), None),
        (ConfigError("temperature must be a number"), "temperature"),
        (ConfigError("draft_k must be in 0..256"), "realm.draft_k"),
        (ConfigError("something else is wrong"), None),
        (ConstraintError("regex: more than 5 bytes"), "realm.regex"),
        (PipelineInputError("x", "inputs.text"), "inputs.text"),
    ],
)
def test_the_field_is_named(error: RealmError, parameter: str | None) -> None:
    assert failure_of(error).parameter == parameter


def test_a_step_of_a_pipeline_fails_as_its_cause() -> None:
    failure = failure_of(PipelineStepError("sum", RateLimitError("all are used", 2.5)))
    assert (failure.status, failure.code) == (429, "rate_limit_exceeded")
    assert failure.message == "step 'sum': all are used"
    assert failure.retry_after_seconds == 2.5


def test_waits_are_whole_seconds_and_never_none() -> None:
    for seconds, told in ((0.0, "1"), (0.2, "1"), (1.5, "2"), (30.0, "30")):
        response = error_response(RateLimitError("x", seconds))
        assert response.headers["retry-after"] == told


def test_messages_keep_what_only_looks_like_a_path() -> None:
    for text in ("1/2 of it", "see https://example.org/a/b", "a/b", "either/or", "/v1"):
        assert without_paths(text) == text
    assert len(without_paths("x" * 100_000)) < 3000


@pytest.mark.parametrize("kind", [errors.StateStoreError, errors.TenantStoreError])
def test_what_the_disk_does_not_take_may_be_tried_again(kind: type[RealmError]) -> None:
    failure = failure_of(kind("/srv/realm/engine.db: database or disk is full"))
    assert (failure.status, failure.code) == (503, "store_unavailable")
    assert failure.retry_after_seconds is not None
    assert "disk is full" not in failure.message


def test_what_the_host_itself_failed_on_is_no_fault_of_the_client() -> None:
    failure = failure_of(host_fault(KeyError("/srv/realm/engine.db")))
    assert (failure.status, failure.code, failure.kind) == (500, "server_error", "server_error")
    assert "KeyError" not in failure.message
