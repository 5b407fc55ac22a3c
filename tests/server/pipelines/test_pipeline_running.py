"""Pipelines that run: order, what runs at once, quotas, failures, and HTTP."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from tests.server.fakes import FakeEngine
from tests.server.web_socket_server import (
    ACME_KEY,
    ADMIN_KEY,
    KnownDirectory,
    make_services,
    make_socket_app,
    serving,
)

from realm.errors import (
    ChatTemplateError,
    ContextLengthError,
    PipelineInputError,
    PipelineStepError,
    RateLimitError,
)
from realm.server.definitions import Limits, Tenant
from realm.server.front.engine_port import GenerateCall
from realm.server.pipelines import (
    Pipeline,
    PipelineResult,
    Step,
    StepAnswer,
    check_pipeline,
    run_pipeline,
)

TEXT = "The capital of France is Paris."
DIAMOND: dict[str, Any] = {
    "id": "diamond",
    "inputs": {"x": {"type": "string"}},
    "steps": [
        {"id": "top", "model": "m", "input": "$inputs.x"},
        {"id": "left", "model": "m", "input": "L{{ steps.top.output }}"},
        {"id": "right", "model": "m", "input": "R{{ steps.top.output }}"},
        {
            "id": "end",
            "model": "m",
            "system": "S{{ inputs.x }}",
            "input": "{{ steps.left.output }}+{{ steps.right.output }}",
        },
    ],
    "output": {"end": "$steps.end.output", "all": "{{ steps.left.output }}/{{ inputs.x }}"},
}


def diamond(**changes: Any) -> Pipeline:
    return check_pipeline(DIAMOND | changes, "diamond.yaml")


def wide(count: int) -> Pipeline:
    steps = [{"id": f"s{each}", "model": "m", "input": str(each)} for each in range(count)]
    return diamond(steps=steps, output=f"$steps.s{count - 1}.output", inputs={})


class Asked:
    """Answers a step with its own text in parentheses. places: how many may be at once before
    quotas refuse. hold: steps wait until so many have come."""

    def __init__(self, places: int = 100, hold: int = 1) -> None:
        self.places = places
        self.hold = hold
        self.order: list[str] = []
        self.systems: list[str | None] = []
        self.running = self.most = self.refused = 0
        self._came = asyncio.Event()

    async def ask(self, step: Step, text: str, system: str | None) -> StepAnswer:
        if self.running >= self.places:
            self.refused += 1
            raise RateLimitError("too many at once", 9.0)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            self.order.append(step.step_id)
            self.systems.append(system)
            if self.running >= self.hold:
                self._came.set()
            await self._came.wait()
            await asyncio.sleep(0)
            return StepAnswer(f"({text})", "m", 2, 3, "stop")
        finally:
            self.running -= 1


def run(pipeline: Pipeline, given: Any, asked: Any) -> PipelineResult:
    return asyncio.run(run_pipeline(pipeline, given, asked.ask, lambda: 0.0))


def test_steps_get_what_they_refer_to() -> None:
    asked = Asked()
    result = run(diamond(), {"x": "a"}, asked)
    assert result.output == {"end": "((L(a))+(R(a)))", "all": "(L(a))/a"}
    assert [step.step_id for step in result.steps] == ["top", "left", "right", "end"]
    assert asked.order[0] == "top" and asked.order[-1] == "end"
    assert asked.systems == [None, None, None, "Sa"]
    assert (result.prompt_tokens, result.completion_tokens) == (8, 12)
    document = result.document()
    assert document["usage"] == {"prompt_tokens": 8, "completion_tokens": 12, "total_tokens": 20}
    assert document["steps"][0]["output"] == "(a)"


def test_steps_that_need_nothing_of_each_other_run_at_once() -> None:
    asked = Asked(hold=4)
    result = run(wide(10), {}, asked)
    assert len(result.steps) == 10
    assert asked.most == 4


@pytest.mark.parametrize("places", [1, 2, 3])
def test_a_quota_that_a_run_fills_by_itself_only_slows_it(places: int) -> None:
    asked = Asked(places)
    result = run(wide(20), {}, asked)
    assert [step.answer.output for step in result.steps] == [f"({each})" for each in range(20)]
    assert asked.most <= places
    assert asked.refused > 0


def test_a_quota_that_is_used_up_ends_the_run() -> None:
    with pytest.raises(PipelineStepError, match="too many at once") as error:
        run(wide(20), {}, Asked(places=0))
    assert isinstance(error.value.cause, RateLimitError)


def test_the_first_failure_ends_the_other_steps() -> None:
    ended: list[str] = []

    class Failing:
        async def ask(self, step: Step, text: str, system: str | None) -> StepAnswer:
            if step.step_id == "s2":
                raise ContextLengthError("9 tokens, and 8 fit")
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(step.step_id)
            raise AssertionError

    with pytest.raises(PipelineStepError, match="step 's2': 9 tokens") as error:
        run(wide(4), {}, Failing())
    assert error.value.step_id == "s2"
    assert sorted(ended) == ["s0", "s1", "s3"]


def test_a_defect_in_a_step_is_no_failure_of_the_pipeline() -> None:
    class Broken:
        async def ask(self, step: Step, text: str, system: str | None) -> StepAnswer:
            raise ZeroDivisionError

    with pytest.raises(ExceptionGroup):
        run(wide(2), {}, Broken())


def test_inputs_are_checked_before_anything_runs() -> None:
    asked = Asked()
    with pytest.raises(PipelineInputError):
        run(diamond(), {"y": 1}, asked)
    assert asked.order == []


def test_a_text_that_grows_too_long_names_its_step() -> None:
    steps = [{"id": "s", "model": "m", "input": "{{ inputs.x }}" * 3}]
    pipeline = diamond(steps=steps, output="$steps.s.output")
    with pytest.raises(PipelineStepError, match="step 's': its text is longer"):
        run(pipeline, "x" * 400_000, Asked())


def write(folder: Path, *definitions: dict[str, Any]) -> None:
    for each in definitions:
        (folder / f"{each['id']}.json").write_text(json.dumps(each))


SIMPLE: dict[str, Any] = {
    "id": "simple",
    "inputs": {"x": {"type": "string"}},
    "steps": [
        {
            "id": "chat",
            "model_type": "chat",
            "system": "Be brief.",
            "input": "About {{ inputs.x }}",
            "options": {"max_tokens": 4, "adapter": "pirate", "json_schema": {"type": "string"}},
        },
        {
            "id": "go-on",
            "model": "large:pirate",
            "model_type": "completion",
            "input": "$steps.chat.output",
        },
        {"id": "vector", "model_type": "embedding", "input": "$steps.chat.output"},
    ],
    "output": {"text": "$steps.go-on.output", "vector": "$steps.vector.output"},
}


def test_real_calls_of_the_engine(tmp_path: Path) -> None:
    write(tmp_path, SIMPLE)
    engine = FakeEngine()
    services = make_services(engine, pipelines=tmp_path)
    with TestClient(make_socket_app(services)) as client:
        answer = client.post("/v1/pipelines/simple/run", json={"input": {"x": "it"}})
    assert answer.status_code == 200
    body = answer.json()
    assert body["output"] == {"text": TEXT, "vector": [1.0, 0.0, 0.0, 0.0]}
    assert [step["id"] for step in body["steps"]] == ["chat", "go-on", "vector"]
    assert body["steps"][0]["output"] == "The capital of France"
    assert body["steps"][0]["usage"]["completion_tokens"] == 4
    assert body["steps"][0]["finish_reason"] == "length"
    assert body["steps"][2]["usage"]["prompt_tokens"] == len("The capital of France")
    chat, completion = (each.call for each in engine.generations)
    assert chat.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "About it"},
    ]
    assert (chat.model, chat.adapters) == ("small", [("pirate", 1.0)])
    assert chat.options["json_schema"] == '{"type": "string"}'
    assert (completion.prompt, completion.model) == ("The capital of France", "large")
    assert completion.adapters == [("pirate", 1.0)]
    assert services.admission.running == 0


def test_a_chat_goes_to_the_first_model_that_has_a_template(tmp_path: Path) -> None:
    write(tmp_path, SIMPLE | {"steps": SIMPLE["steps"][:1], "output": "$steps.chat.output"})

    class OneTemplate(FakeEngine):
        def generate(self, call: GenerateCall) -> Any:
            self.error = ChatTemplateError("no template") if call.model == "small" else None
            return super().generate(call)

    engine = OneTemplate()
    with TestClient(make_socket_app(make_services(engine, pipelines=tmp_path))) as client:
        answer = client.post("/v1/pipelines/simple/run", json={"input": "it"}).json()
        assert answer["steps"][0]["model"] == "large"
        only = KnownDirectory(default=Tenant("default", models=("small",)))
        with TestClient(make_socket_app(make_services(engine, only, tmp_path))) as other:
            refused = other.post("/v1/pipelines/simple/run", json={"input": "it"})
    assert refused.status_code == 400
    assert "step 'chat': no template" in refused.json()["error"]["message"]


def test_one_place_at_a_time_is_enough(tmp_path: Path) -> None:
    write(
        tmp_path,
        DIAMOND | {"steps": json.loads(json.dumps(DIAMOND["steps"]).replace('"m"', '"small"'))},
    )
    directory = KnownDirectory(default=Tenant("default", limits=Limits(concurrent_requests=1)))
    services = make_services(FakeEngine(), directory, tmp_path)
    with TestClient(make_socket_app(services)) as client:
        answer = client.post("/v1/pipelines/diamond/run", json={"input": {"x": "a"}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["output"]["end"] == TEXT


def test_lists_and_descriptions(tmp_path: Path) -> None:
    write(tmp_path, SIMPLE, DIAMOND)
    with TestClient(make_socket_app(make_services(FakeEngine(), pipelines=tmp_path))) as client:
        listed = client.get("/v1/pipelines").json()
        assert [each["id"] for each in listed["data"]] == ["diamond", "simple"]
        shown = client.get("/v1/pipelines/simple").json()
        assert shown == listed["data"][1]
        assert shown["inputs"]["x"]["required"] is True
        assert "Be brief" not in json.dumps(listed)
        assert client.get("/v1/pipelines/none").status_code == 404
        assert client.post("/v1/pipelines/none/run", json={"input": {}}).status_code == 404


@pytest.mark.parametrize(
    ("body", "parameter"),
    [
        (b"", None),
        (b"[", None),
        (b"[" * 100_000, None),
        (b"[]", None),
        (b'{"input": {}}', "input.x"),
        (b'{"input": {"x": 1}}', "input.x"),
        (b'{"input": {"x": "a", "y": "b"}}', "input.y"),
        (b'{"inputs": {"x": "a"}}', "inputs"),
        (b'{"input": ["a"]}', "input"),
        (b'{"input": null}', "input"),
    ],
)
def test_wrong_bodies(tmp_path: Path, body: bytes, parameter: str | None) -> None:
    write(tmp_path, SIMPLE)
    engine = FakeEngine()
    headers = {"content-type": "application/json"}
    with TestClient(make_socket_app(make_services(engine, pipelines=tmp_path))) as client:
        answer = client.post("/v1/pipelines/simple/run", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == parameter
    assert engine.generations == []


def test_keys_are_asked_for_and_failures_name_the_step(tmp_path: Path) -> None:
    write(tmp_path, SIMPLE)
    engine = FakeEngine()
    services = make_services(engine, KnownDirectory(keys_required=True), tmp_path)
    path = "/v1/pipelines/simple/run"
    with TestClient(make_socket_app(services)) as client:
        for key in (None, "realm_wrong", ADMIN_KEY):
            headers = {} if key is None else {"authorization": f"Bearer {key}"}
            assert client.post(path, json={"input": "x"}, headers=headers).status_code == 401
            assert client.get("/v1/pipelines", headers=headers).status_code == 401
            assert client.get("/v1/pipelines/simple", headers=headers).status_code == 401
        engine.error = RateLimitError("used up", 5.0)
        headers = {"authorization": f"Bearer {ACME_KEY}"}
        answer = client.post(path, json={"input": "x"}, headers=headers)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "5"
    assert answer.json()["error"]["message"] == "step 'chat': used up"


class WatchedEngine(FakeEngine):
    """See FakeEngine. Its generations wait; it tells when one began and when one was cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Semaphore(0)
        self.began, self.ended = threading.Event(), threading.Event()

    def generate(self, call: GenerateCall) -> Any:
        generation = super().generate(call)
        cancel = generation.cancel

        def watched_cancel() -> None:
            cancel()
            self.ended.set()

        generation.cancel = watched_cancel  # type: ignore[method-assign]
        self.began.set()
        return generation


def test_a_client_that_goes_away_ends_its_run(tmp_path: Path) -> None:
    write(tmp_path, SIMPLE)
    engine = WatchedEngine()
    services = make_services(engine, pipelines=tmp_path)

    async def leave(port: int) -> None:
        async with httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{port}/v1/pipelines/simple/run"
            asking = asyncio.create_task(client.post(url, json={"input": "x"}, timeout=60))
            assert await asyncio.to_thread(engine.began.wait, 20)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    with serving(services) as port:
        asyncio.run(leave(port))
        assert engine.ended.wait(20)
    assert services.admission.running == 0
