"""The process itself: its socket, and every way in which it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.server.engine_process.engines import call

from realm.errors import ConfigError, EngineUnavailableError
from realm.server.definitions import Model, Tenant
from realm.server.engine_process.process import EXIT_DONE, EXIT_MISUNDERSTOOD, EXIT_NO_START
from realm.server.front.engine_client import EngineClient

LONG = {"max_tokens": 900, "ignore_eos": True}


class Started:
    def __init__(self, folder: Path, *arguments: str, socket_name: str = "engine.sock") -> None:
        self.path = folder / socket_name
        command = [sys.executable, "-m", "realm.server.engine_process", "--socket", self.path]
        self.process = subprocess.Popen(
            [*command, "--threads", "2", *arguments], stderr=subprocess.PIPE
        )
        self.first_line = self.process.stderr.readline().decode()

    async def connect(self) -> EngineClient:
        return await EngineClient.connect(self.path)

    def end(self) -> tuple[int, list[dict]]:
        """Its exit status and the lines of its log."""
        _, log = self.process.communicate(timeout=20)
        return self.process.returncode, [json.loads(line) for line in log.splitlines()]


@pytest.fixture
def start() -> Iterator:
    started: list[Started] = []
    with tempfile.TemporaryDirectory() as folder:  # a socket's path must be short

        def start_one(*arguments: str, **options: str) -> Started:
            started.append(Started(Path(folder), *arguments, **options))
            return started[-1]

        yield start_one
        for each in started:
            each.process.kill()
            each.process.communicate()


def test_it_ends_when_its_front_has_gone_whatever_runs(start, tiny_path):
    engine = start()

    async def run():
        assert stat.S_IMODE(engine.path.stat().st_mode) == 0o600
        client = await engine.connect()
        await client.configure(models=[Model("tiny", str(tiny_path))], tenants=[Tenant("a")])
        assert not engine.path.exists()
        running = [client.generate(call(**LONG, seed=each)) for each in range(4)]
        await anext(running[0])
        await client.close()
        with pytest.raises(EngineUnavailableError):
            await running[1].result()

    asyncio.run(run())
    status, log = engine.end()
    assert status in (EXIT_DONE, -signal.SIGALRM)
    assert all("Once upon" not in str(line) for line in log)


def test_on_sigterm_what_runs_is_finished_and_what_is_new_refused(start, tiny_path):
    engine = start()

    async def run():
        client = await engine.connect()
        await client.configure(models=[Model("tiny", str(tiny_path))], tenants=[Tenant("a")])
        running = client.generate(call(**LONG))
        first = await anext(running)
        engine.process.terminate()
        refused = 0
        for _ in range(1000):  # the signal takes a moment
            try:
                await client.generate(call(max_tokens=1)).result()
            except EngineUnavailableError as error:
                refused += "shutting down" in str(error)
                break
        assert refused
        text = first.text + "".join([piece.text async for piece in running])
        finished = await running.result()
        assert len(finished.token_ids) == 900
        assert finished.text == text
        await client.lost

    asyncio.run(run())
    status, log = engine.end()
    assert status == EXIT_DONE
    assert [line["message"] for line in log] == ["the engine drains", "the engine has ended"]


def test_a_front_that_makes_no_sense_ends_it(start):
    engine = start()

    async def run():
        reader, writer = await asyncio.open_unix_connection(engine.path)
        body = msgspec.msgpack.encode(["no-such-message", 1])
        writer.write(len(body).to_bytes(4, "little") + body)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()

    asyncio.run(run())
    status, log = engine.end()
    assert status == EXIT_MISUNDERSTOOD
    assert "not understood" in log[0]["message"]


def test_what_keeps_it_from_starting_is_told(start, tmp_path):
    engine = start("--state", str(tmp_path))  # a folder

    async def run():
        client = await engine.connect()
        with pytest.raises(ConfigError, match="state_path"):
            await client.configure(models=[], tenants=[])
        await client.lost

    asyncio.run(run())
    assert engine.end()[0] == EXIT_NO_START


@pytest.mark.parametrize("socket_name", ["engine.sock", "x" * 120])
def test_arguments_that_cannot_be(start, socket_name):
    arguments = ["--cache-bytes", "-1"] if socket_name == "engine.sock" else []
    engine = start(*arguments, socket_name=socket_name)
    assert json.loads(engine.first_line)["message"].startswith("the engine cannot start: ")
    assert engine.end() == (EXIT_NO_START, [])


def test_it_ends_without_a_front_on_sigterm(start):
    engine = start()
    os.kill(engine.process.pid, signal.SIGTERM)
    assert engine.end()[0] == EXIT_DONE
