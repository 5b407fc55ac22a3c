"""The supervisor: an engine process that dies, hangs, drains or never comes, and who asks of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from tests.tiny_model import TinyModel

from realm.errors import EngineUnavailableError, GGUFOpenError, RequestError
from realm.server.definitions import Item, Model, Tenant
from realm.server.front.engine_client import EngineClient
from realm.server.front.engine_port import GenerateCall
from realm.server.front.supervisor import EngineConfiguration, EngineSupervisor, Patience

ARGUMENTS = ("--threads", "2", "--log-level", "error")
QUICK = Patience(look=0.05, first_delay=0.01)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = TinyModel().write(tmp_path_factory.mktemp("supervised") / "tiny.gguf")
    return Model("tiny", str(path))


def call(tenant_id: str = "a", **options) -> GenerateCall:
    options = {"max_tokens": 12, "ignore_eos": True, "temperature": 0.0, **options}
    return GenerateCall(tenant_id, "tiny", prompt="Once", options=options)


async def text_when_back(supervisor: EngineSupervisor, tenant_id: str = "a") -> str:
    """What is said once there is an engine again."""
    while True:
        try:
            return (await supervisor.generate(call(tenant_id)).result()).text
        except EngineUnavailableError as error:
            assert error.retry_after_seconds > 0
            await supervisor.wait_until_ready()


def supervise(configuration, conversation, patience: Patience = QUICK) -> None:
    async def run():
        supervisor = EngineSupervisor(configuration, ARGUMENTS, patience=patience)
        await supervisor.start()
        try:
            await asyncio.wait_for(conversation(supervisor), 60)
        finally:
            await supervisor.close()
            await supervisor.close()
        assert not supervisor.is_ready
        with pytest.raises(EngineUnavailableError, match="shutting down"):
            supervisor.generate(call())

    asyncio.run(run())


def test_a_killed_engine_is_replaced_and_the_new_one_knows_what_changed(model):
    tenants = {"a": Tenant("a")}

    async def conversation(supervisor):
        assert supervisor.is_ready
        expected = await text_when_back(supervisor)
        running = supervisor.generate(call(max_tokens=900))
        waiting = asyncio.create_task(supervisor.generate(call(max_tokens=900)).result())
        await anext(running)
        before = supervisor.process_id
        os.kill(before, signal.SIGKILL)
        with pytest.raises(EngineUnavailableError):
            [each async for each in running]
        with pytest.raises(EngineUnavailableError):
            await waiting
        assert not supervisor.is_ready
        # What comes now is part of what the next engine is told, but for what it had to look at.
        tenants["late"] = Tenant("late")
        await supervisor.put_tenant(tenants["late"])
        await supervisor.remove_item("adapter", "x", None)
        assert await text_when_back(supervisor, "late") == expected
        assert await text_when_back(supervisor) == expected
        assert supervisor.process_id != before
        await supervisor.remove_tenant("late")
        with pytest.raises(RequestError, match="no tenant"):
            await supervisor.generate(call("late")).result()
        with pytest.raises(GGUFOpenError):
            await supervisor.put_item("draft", Item("x", None, "00", 1, "/nowhere/x.gguf"))
        vectors = await supervisor.embed("a", "tiny", ["x"], "mean")
        assert vectors.dimension * 4 == len(vectors.vectors)
        assert "a" in (await supervisor.figures()).tenants

    supervise(lambda: EngineConfiguration([model], list(tenants.values())), conversation)


def test_a_hung_engine_is_killed_and_replaced(model):
    async def conversation(supervisor):
        expected = await text_when_back(supervisor)
        before = supervisor.process_id
        os.kill(before, signal.SIGSTOP)
        with pytest.raises(EngineUnavailableError):
            await supervisor.generate(call(max_tokens=900)).result()
        assert await text_when_back(supervisor) == expected
        assert supervisor.process_id != before

    patience = Patience(look=0.05, answer=0.5, first_delay=0.01)
    supervise(lambda: EngineConfiguration([model], [Tenant("a")]), conversation, patience)


def test_an_engine_that_answers_with_an_error_is_replaced_too(model, monkeypatch):
    figures = EngineClient.figures

    async def conversation(supervisor):
        refused, before = asyncio.Event(), supervisor.process_id

        async def refuse(*_, **__):
            monkeypatch.setattr(EngineClient, "figures", figures)
            refused.set()
            raise RequestError("no figures")

        monkeypatch.setattr(EngineClient, "figures", refuse)
        await refused.wait()
        assert await text_when_back(supervisor)
        assert supervisor.process_id != before

    supervise(lambda: EngineConfiguration([model], [Tenant("a")]), conversation)


def test_it_ends_also_when_told_so_while_the_engine_answers(model, monkeypatch):
    async def conversation(supervisor):
        asked, answer = asyncio.Event(), asyncio.Event()

        async def figures(*_, **__):
            asked.set()
            await answer.wait()

        monkeypatch.setattr(EngineClient, "figures", figures)
        await asked.wait()
        answer.set()
        await supervisor.close()

    supervise(lambda: EngineConfiguration([model], [Tenant("a")]), conversation)


def test_draining_lets_end_what_runs(model):
    async def conversation(supervisor):
        running = supervisor.generate(call(max_tokens=900))
        await anext(running)
        draining = asyncio.create_task(supervisor.drain(60))
        await asyncio.sleep(0)
        with pytest.raises(EngineUnavailableError, match="shutting down"):
            supervisor.generate(call())
        assert len((await running.result()).token_ids) == 900
        await draining

    supervise(lambda: EngineConfiguration([model], [Tenant("a")]), conversation)


def test_draining_ends_when_its_time_has(model):
    async def conversation(supervisor):
        running = supervisor.generate(call(max_tokens=1000))
        os.kill(supervisor.process_id, signal.SIGSTOP)
        await supervisor.drain(0.01)
        await supervisor.close()
        with pytest.raises(EngineUnavailableError):
            await running.result()

    supervise(lambda: EngineConfiguration([model], [Tenant("a")]), conversation)


def _no_model() -> EngineConfiguration:
    return EngineConfiguration([Model("tiny", "/nowhere/tiny.gguf")], [])


def _no_configuration() -> EngineConfiguration:
    raise RequestError("the store is not there")


@pytest.mark.parametrize(
    ("configuration", "command", "kind", "words"),
    [
        (_no_model, None, GGUFOpenError, "tiny.gguf"),
        (_no_configuration, None, RequestError, "store"),
        (_no_model, (sys.executable, "-c", "exit(7)"), EngineUnavailableError, "status 7"),
        (_no_model, ("/nowhere/python",), EngineUnavailableError, "cannot be started"),
        (
            _no_model,
            (sys.executable, "-c", "import time; time.sleep(60)"),
            EngineUnavailableError,
            "within 0.05",
        ),
    ],
    ids=["model", "configuration", "status", "command", "silence"],
)
def test_a_first_start_that_fails_says_why(configuration, command, kind, words):
    async def run():
        patience = Patience(listen=0.05) if words == "within 0.05" else QUICK
        chosen = {} if command is None else {"command": command}
        supervisor = EngineSupervisor(configuration, ARGUMENTS, patience=patience, **chosen)
        with pytest.raises(kind, match=words):
            await supervisor.start()
        assert not Path(supervisor._directory).exists()
        with pytest.raises(EngineUnavailableError):
            await supervisor.figures()

    asyncio.run(run())
