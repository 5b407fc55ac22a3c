"""`realm serve` as a process: from its first line to its end, on a tiny model."""

import contextlib
import io
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from tests.tiny_model import TinyModel

from realm.cli.context import standard_context
from realm.cli.main import main
from realm.server.store import TenantStore


@dataclass
class Server:
    process: subprocess.Popen
    client: httpx.Client
    greeting: str

    def wait_until_ready(self) -> None:
        """The server answers at once; its engine comes later."""
        for _ in range(2000):
            answer = self.client.get("/ready")
            if answer.status_code == 200:
                return
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
        raise AssertionError("the engine did not come")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return TinyModel().write(tmp_path_factory.mktemp("serve") / "tiny.gguf")


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if not name.startswith("REALM_")}
    return kept | {"REALM_HOME": str(folder)}


@contextlib.contextmanager
def _server(folder: Path, model: Path, *options: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "realm.cli.main", "serve", "--port", "0", "--threads", "1"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--model", f"tiny={model}", *options],
            env=_environment(folder),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process, contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        greeting = process.stdout.readline() + process.stdout.readline()
        address = re.search(r"http://[\d.]+:\d+", greeting)
        assert address is not None, (folder / "log").read_text()
        client = stack.enter_context(httpx.Client(base_url=address[0], timeout=30))
        yield Server(process, client, greeting)


def _streams(client: httpx.Client, tokens: int):
    body = {"model": "tiny", "prompt": "ab", "max_tokens": tokens, "stream": True}
    return client.stream("POST", "/v1/completions", json=body)


def test_it_answers_without_any_configuration_and_ends_when_told(tmp_path, model):
    with _server(tmp_path, model) as server:
        assert "curl http://127.0.0.1:" in server.greeting
        assert server.client.get("/health").status_code == 200
        server.wait_until_ready()
        body = {"model": "tiny", "prompt": "ab", "max_tokens": 5}
        answer = server.client.post("/v1/completions", json=body)
        assert answer.json()["usage"]["completion_tokens"] == 5
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0
    assert (tmp_path / "server" / "realm.db").stat().st_mode & 0o777 == 0o600


def test_a_running_answer_is_finished_before_the_end(tmp_path, model):
    with _server(tmp_path, model) as server:
        server.wait_until_ready()
        with _streams(server.client, 400) as answer:
            lines = answer.iter_lines()
            first = next(lines)
            server.process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert first.startswith("data: {")
        assert rest[-1] == "data: [DONE]"
        assert '"finish_reason":"length"' in rest[-2] or '"finish_reason":"stop"' in rest[-2]
        assert server.process.wait(30) == 0


def test_the_first_key_makes_keys_necessary_while_it_runs(tmp_path, model):
    with _server(tmp_path, model) as server:
        assert server.client.get("/v1/models").status_code == 200
        with TenantStore(f"sqlite:///{tmp_path / 'server' / 'realm.db'}") as store:
            _, secret = store.create_key(None)
        while server.client.get("/v1/models").status_code == 200:
            pass
        headers = {"Authorization": f"Bearer {secret}"}
        assert server.client.get("/admin/tenants", headers=headers).status_code == 200
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(30) == 0
    log = (tmp_path / "log").read_text()
    assert secret not in log


def test_a_model_that_cannot_be_read_ends_it(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")
    with _server(tmp_path, broken) as server:
        assert server.process.wait(30) == 1
    assert "error: " in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0"], "realm keys create"),
        (["--config", "none.toml"], "none.toml: cannot be read"),
        (["--model", "a:b=c"], "--model: models.name"),
        (["--model", "nothing-of-this-name"], "nothing-of-this-name"),
        (["--port", "65536"], "--port: port: Expected `int` <= 65535"),
        (["--database-url", "nonsense"], "the database's URL is not one"),
        (["--pipelines-directory", "/no/such/folder"], "cannot be read"),
    ],
)
def test_what_keeps_it_from_starting(tmp_path, model, monkeypatch, options, message):
    for name, text in _environment(tmp_path).items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(tmp_path)
    errors = io.StringIO()
    context = replace(standard_context(), stdout=io.StringIO(), stderr=errors)
    arguments = options if "--model" in options else ["--model", f"tiny={model}", *options]
    assert main(["serve", *arguments], context) == 1
    assert message in errors.getvalue()
    assert errors.getvalue().count("\n") == 1


def test_a_port_that_is_taken(tmp_path, model, monkeypatch):
    monkeypatch.setenv("REALM_HOME", str(tmp_path))
    errors = io.StringIO()
    context = replace(standard_context(), stdout=io.StringIO(), stderr=errors)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--model", f"tiny={model}", "--port", str(port)], context) == 1
    assert "another program listens there" in errors.getvalue()
