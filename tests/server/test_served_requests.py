"""What clients use up, also those that go early: quotas, metrics and logs of texts and vectors."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient
from tests.server.fakes import FakeEngine
from tests.server.openai.fronts import HEADERS, make_services

from realm.errors import EngineUnavailableError, GuestTrapError, RateLimitError, RealmError
from realm.server.definitions import Limits, Tenant
from realm.server.front.app import app_of
from realm.server.front.engine_port import GenerateCall
from realm.server.front.openai import routes
from realm.server.front.served_embedding import served_embedding
from realm.server.front.served_generation import ServedGeneration
from realm.server.front.services import Services
from realm.server.front.tracing import Tracing

TENANT = Tenant("acme", limits=Limits(tokens_per_minute=1000))
CALL = GenerateCall("acme", "tiny", prompt="x" * 4000)
EMBEDDING = {"model": "tiny", "input": ["one", "three"]}


@pytest.fixture
def services() -> Services:
    return make_services(FakeEngine(), tenant=TENANT)


def served(services: Services, call: GenerateCall = CALL) -> ServedGeneration:
    return ServedGeneration(services, TENANT, call, route="/r", request_id="1")


def figure(services: Services, name: str) -> float:
    """Of a metric, over all labels."""
    lines = services.metrics.render(None).decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def is_at_rest(services: Services) -> bool:
    return services.admission.running == services.metrics.running == 0


@pytest.mark.parametrize(
    "prompt",
    [
        {"prompt": "x" * 4000},
        {"token_ids": [1] * 1000},
        {"messages": [{"role": "user", "content": "x" * 4000}]},
    ],
)
@pytest.mark.parametrize("error", [None, GuestTrapError("no")])
def test_a_client_that_goes_before_the_end_has_used_what_it_got(services, prompt, error):
    async def leave() -> None:
        services.engine.error, services.engine.error_after = error, 2
        call = GenerateCall("acme", "tiny", **prompt)
        try:
            async with served(services, call) as generation:
                async for piece in generation:
                    if piece.token_ids == [2]:
                        break
        except GuestTrapError:
            assert error is not None

    asyncio.run(leave())
    assert is_at_rest(services)
    assert services.engine.generations[0].is_cancelled
    assert figure(services, "realm_completion_tokens_total") == (3 if error is None else 2)
    with pytest.raises(RateLimitError, match="tokens of this minute"):
        services.admission.admit(TENANT)


def test_what_gave_nothing_is_not_debited(services):
    async def fail() -> None:
        services.engine.error = EngineUnavailableError("the engine was lost")
        for _ in range(5):
            with pytest.raises(EngineUnavailableError):
                async with served(services) as generation:
                    await generation.result()

    asyncio.run(fail())
    assert is_at_rest(services)
    services.admission.admit(TENANT).close(0)


class _BrokenTracing(Tracing):
    def start(self, name: str, attributes: dict[str, Any]) -> Any:
        raise RuntimeError(f"no span for {name}")


def test_whatever_breaks_before_the_start_leaves_nothing_behind(services):
    broken = replace(services, tracing=_BrokenTracing())

    async def begin() -> None:
        with pytest.raises(RuntimeError, match="generation"):
            async with served(broken):
                pass
        with pytest.raises(RuntimeError, match="embedding"):
            await served_embedding(broken, TENANT, "tiny", ["x"], route="/r", request_id="1")

    asyncio.run(begin())
    assert is_at_rest(services)
    assert not services.engine.generations


def test_vectors_are_counted_and_logged_like_texts(caplog):
    engine = FakeEngine()
    services = make_services(engine, tenant=TENANT)
    client = TestClient(app_of(services, routes(services)))
    with caplog.at_level(logging.INFO, "realm.server.requests"):
        answer = client.post("/v1/embeddings", json=EMBEDDING, headers=HEADERS)
    assert answer.status_code == 200
    (record,) = [each for each in caplog.records if each.message == "embedding"]
    assert (record.tenant, record.model, record.outcome) == ("acme", "tiny", "stop")
    assert record.prompt_tokens == len("onethree")
    assert record.request_id == answer.headers["x-request-id"]
    assert "three" not in str(vars(record))
    assert figure(services, "realm_prompt_tokens_total") == len("onethree")
    assert figure(services, 'realm_generations_total{outcome="stop",tenant="acme"}') == 1
    assert is_at_rest(services)


@pytest.mark.parametrize("error", [GuestTrapError("no"), EngineUnavailableError("away")])
def test_vectors_that_fail_or_are_refused(error: RealmError, monkeypatch):
    engine = FakeEngine()
    services = make_services(engine, tenant=replace_limits(concurrent_requests=1))

    async def fail(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(engine, "embed", fail)
    client = TestClient(app_of(services, routes(services)))
    refused = client.post("/v1/embeddings", json=EMBEDDING, headers=HEADERS)
    assert refused.status_code == (422 if isinstance(error, GuestTrapError) else 503)
    outcome = type(error).__name__
    assert figure(services, f'realm_generations_total{{outcome="{outcome}"') == 1
    assert is_at_rest(services)
    services.admission.admit(services.directory.tenant_here)
    assert client.post("/v1/embeddings", json=EMBEDDING, headers=HEADERS).status_code == 429
    assert figure(services, "realm_generations_refused_total") == 1


def replace_limits(**limits: Any) -> Tenant:
    return Tenant("acme", limits=Limits(**limits))


def test_vectors_that_nobody_awaits_are_given_up(services):
    async def leave() -> None:
        begun = asyncio.Event()

        async def wait_for_ever(*arguments: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

        services.engine.embed = wait_for_ever
        work = served_embedding(services, TENANT, "tiny", ["x"], route="/r", request_id="1")
        task = asyncio.create_task(work)
        await begun.wait()
        assert services.admission.running == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert is_at_rest(services)
    assert figure(services, 'realm_generations_total{outcome="cancelled"') == 1
