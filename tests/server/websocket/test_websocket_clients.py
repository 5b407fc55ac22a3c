"""The clients that come with Realm, against a server on a real socket."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tests.server.fakes import FakeEngine
from tests.server.web_socket_server import ACME_KEY, KnownDirectory, make_services, serving

from realm.errors import RateLimitError
from realm.server.front.services import Services

CLIENTS = Path(__file__).parents[3] / "clients"
TEXT = "The capital of France is Paris."
PIPELINE = """
id: two
inputs: {text: {type: string}}
steps:
  - {id: a, model_type: chat, input: "First {{ inputs.text }}"}
  - {id: b, model_type: completion, input: $steps.a.output}
output: $steps.b.output
"""


@pytest.fixture(scope="module")
def python_client() -> Any:
    path = CLIENTS / "python" / "realm_client.py"
    specification = importlib.util.spec_from_file_location("realm_client", path)
    assert specification is not None and specification.loader is not None
    module: ModuleType = importlib.util.module_from_spec(specification)
    sys.modules["realm_client"] = module
    specification.loader.exec_module(module)
    yield module
    del sys.modules["realm_client"]


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def services(engine: FakeEngine, tmp_path: Path) -> Services:
    (tmp_path / "two.yaml").write_text(PIPELINE)
    return make_services(engine, KnownDirectory(keys_required=True), tmp_path)


def test_the_python_client(python_client: Any, engine: FakeEngine, services: Services) -> None:
    async def talk(port: int) -> None:
        url = f"ws://127.0.0.1:{port}/ws"
        async with python_client.RealmClient(url, api_key=ACME_KEY) as client:
            assert client.tenant_id == "acme"
            assert (await client.generate("p"))["text"] == TEXT
            pieces = [piece async for piece in client.stream("p")]
            assert "".join(piece["text"] for piece in pieces) == TEXT
            assert pieces[-1]["is_final"]
            assert (await client.pipeline("two", {"text": "x"}))["output"] == TEXT
            assert (await client.health())["status"] == "healthy"
            assert (await client.metadata())["version"] == client.version
            many = [client.generate("p", max_tokens=1 + place % 6) for place in range(20)]
            counts = [each["tokens_generated"] for each in await asyncio.gather(*many)]
            assert counts == [1 + place % 6 for place in range(20)]
            with pytest.raises(python_client.CallError) as wrong:
                await client.generate("p", max_tokens=0)
            assert wrong.value.code == "INVALID_PARAMS"
            assert wrong.value.details["field"] == "max_tokens"
            engine.error = RateLimitError("used up", 4.0)
            with pytest.raises(python_client.CallError) as refused:
                await client.generate("p")
            assert refused.value.retry_after == 4.0

    with serving(services) as port:
        asyncio.run(talk(port))


def test_the_python_client_lets_go(
    python_client: Any, engine: FakeEngine, services: Services
) -> None:
    async def talk(port: int) -> None:
        url = f"ws://127.0.0.1:{port}/ws"
        with pytest.raises(python_client.ConnectionLostError, match="key"):
            async with python_client.RealmClient(url, api_key="realm_wrong"):
                pass
        async with python_client.RealmClient(url, api_key=ACME_KEY, tenant_id="acme") as client:
            stream = client.stream("p")
            assert (await anext(stream))["text"] == "The"
            await stream.aclose()
            assert (await client.health())["status"] == "healthy"
        async with python_client.RealmClient(url, api_key=ACME_KEY, tenant_id="globex") as client:
            with pytest.raises(python_client.CallError, match="UNAUTHORIZED"):
                await client.generate("p")

    with serving(services) as port:
        asyncio.run(talk(port))
    assert services.admission.running == 0


NODE_SCRIPT = """
import { CallError, ConnectionLostError, RealmClient } from %(client)s;
import assert from "node:assert/strict";
const [url, apiKey] = process.argv.slice(2);
await assert.rejects(RealmClient.connect(url, { apiKey: "realm_wrong" }), ConnectionLostError);
const client = await RealmClient.connect(url, { apiKey, tenantId: "acme" });
const seen = { tenant: client.tenantId, version: client.version, pieces: [] };
seen.text = (await client.generate("p")).text;
for await (const piece of client.stream("p")) seen.pieces.push(piece);
for await (const piece of client.stream("p")) { seen.first = piece.text; break; }
const many = Array.from({ length: 20 }, (_, place) =>
  client.generate("p", { max_tokens: 1 + (place %% 6) }));
seen.counts = (await Promise.all(many)).map((each) => each.tokens_generated);
seen.output = (await client.pipeline("two", { text: "x" })).output;
seen.health = (await client.health()).status;
seen.functions = (await client.metadata()).functions.map((each) => each.name);
await assert.rejects(client.generate("p", { max_tokens: 0 }), (error) =>
  error instanceof CallError && error.code === "INVALID_PARAMS" &&
    error.details.field === "max_tokens");
client.close();
await assert.rejects(async () => { for (;;) await client.health(); });
console.log(JSON.stringify(seen));
"""


def test_the_node_client(services: Services, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.fail("the Node client is tested with Node: install version 20 or later")
    version = subprocess.run([node, "--version"], check=True, capture_output=True, text=True)
    is_old = int(version.stdout.removeprefix("v").partition(".")[0]) < 22
    flags = ["--experimental-websocket", "--no-warnings"] if is_old else []
    script = tmp_path / "talk.mjs"
    client = (CLIENTS / "node" / "realm_client.mjs").as_uri()
    script.write_text(NODE_SCRIPT % {"client": json.dumps(client)})
    with serving(services) as port:
        found = subprocess.run(
            [
                node,
                *flags,
                script,
                f"ws://127.0.0.1:{port}/ws",
                ACME_KEY,
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert found.returncode == 0, found.stderr
    seen = json.loads(found.stdout)
    assert (seen["tenant"], seen["text"], seen["first"]) == ("acme", TEXT, "The")
    assert "".join(piece["text"] for piece in seen["pieces"]) == TEXT
    assert [piece["is_final"] for piece in seen["pieces"]] == [False] * 6 + [True]
    assert seen["counts"] == [1 + place % 6 for place in range(20)]
    assert (seen["output"], seen["health"]) == (TEXT, "healthy")
    assert "generate" in seen["functions"]
    assert services.admission.running == 0
