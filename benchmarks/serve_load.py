"""The server under load: many streaming clients of many tenants, every answer compared with itself.

    python benchmarks/serve_load.py [--model smollm2] [--clients 64] [--tenants 16] [--seconds 300]

Starts `realm serve` on a port of this machine, makes tenants with keys and an adapter each through
the admin API, and asks every script once alone. Then the clients stream the same scripts at once,
again and again; each text must be what it was alone. Beside it stands what `realm bench tenants`
decodes in process with as many sequences and adapters, and the same scripts without a server. Then
requests of one token, through HTTP and in process in turns: their difference is what the front
costs, with a client that sends bytes made before and looks for the end of the answer. Exits with 1
when an answer failed or differed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import command_line
import results
from process_memory import resident_bytes
from served import Served

from realm.catalog import Catalog
from realm.cli.adapter_base import read_adapter_base
from realm.cli.random_adapters import write_random_adapter
from realm.config import ModelConfig
from realm.config.engine import EngineConfig
from realm.runtime import RuntimeManager

_EVENT = re.compile(rb"data: (\{.*?\})\n\n", re.DOTALL)
_WHOLE = re.compile(rb"(?is).*?\r\ncontent-length: (\d+)\r\n.*?\r\n\r\n(.*)")
_BLOCK = 20  # requests of one token that follow each other
_PAUSE_SECONDS = 0.005  # before each: both ways find threads that have gone to sleep
_QUESTIONS = (
    "Name three rivers of Europe and say where each ends.",
    "Write the beginning of a letter to an old friend.",
    "Explain to a child why the sky is blue.",
    "List what one needs to bake bread.",
)


@dataclass(frozen=True, slots=True)
class Script:
    """One request. key: of its tenant."""

    key: str
    body: bytes


@dataclass(slots=True)
class Tally:
    """What the clients saw. Seconds."""

    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    answers: int = 0
    tokens: int = 0
    failures: list[str] = field(default_factory=list)
    different: int = 0


def request_bytes(key: str, body: bytes, connection: str) -> bytes:
    """A chat completion as it goes over the wire. connection: "close" or "keep-alive"."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n"
        f"Content-Type: application/json\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def ask(port: int, script: Script, tally: Tally) -> str | None:
    """The streamed text; None when it failed."""
    started = time.perf_counter()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes(script.key, script.body, "close"))
        received = []
        last = None
        while data := await reader.read(1 << 16):
            received.append(data)
            if b"data: {" in data:
                now = time.perf_counter()
                if last is None:
                    tally.first.append(now - started)
                else:
                    tally.gaps.append(now - last)
                last = now
        writer.close()
    except OSError as error:
        tally.failures.append(str(error))
        return None
    whole = b"".join(received)
    if not whole.startswith(b"HTTP/1.1 200") or b"data: [DONE]" not in whole:
        tally.failures.append(whole[:200].decode(errors="replace"))
        return None
    events = [json.loads(each) for each in _EVENT.findall(whole)]
    if any("error" in event for event in events):
        tally.failures.append(str(events[-1]))
        return None
    tally.answers += 1
    tally.tokens += sum((event.get("usage") or {}).get("completion_tokens", 0) for event in events)
    return "".join(
        choice["delta"].get("content") or "" for event in events for choice in event["choices"]
    )


def make_scripts(keys: list[str], model: str, clients: int, tokens: int) -> list[Script]:
    """One for each client, spread over the tenants."""
    scripts = []
    for number in range(clients):
        document = {
            "model": model,
            "messages": [{"role": "user", "content": _QUESTIONS[number % len(_QUESTIONS)]}],
            "max_tokens": tokens,
            "temperature": 0.8,
            "seed": number,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        scripts.append(Script(keys[number % len(keys)], json.dumps(document).encode()))
    return scripts


async def load(port: int, scripts: list[Script], alone: list[str], seconds: float) -> Tally:
    """All scripts at once, each again and again."""
    tally = Tally()
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        while time.perf_counter() < end:
            text = await ask(port, scripts[number], tally)
            tally.different += text is not None and text != alone[number]

    await asyncio.gather(*(client(number) for number in range(len(scripts))))
    return tally


async def solo(port: int, scripts: list[Script]) -> list[str]:
    """Each text alone. Raises RuntimeError where there is none."""
    tally, texts = Tally(), []
    for script in scripts:
        text = await ask(port, script, tally)
        if text is None:
            raise RuntimeError(f"alone it failed: {tally.failures[-1]}")
        texts.append(text)
    return texts


def one_token(
    served: Served, path: Path, adapter: Path, script: Script, arguments: argparse.Namespace
) -> tuple[list[float], list[float]]:
    """Seconds of whole answers of one token, one after another: through HTTP over a connection that
    stays, and in this process, in turns."""
    document = json.loads(script.body) | {"max_tokens": 1, "stream": False}
    del document["stream_options"]
    request = request_bytes(script.key, json.dumps(document).encode(), "keep-alive")
    through, inside = [], []
    connection = socket.create_connection(("127.0.0.1", served.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with RuntimeManager(EngineConfig(threads=arguments.threads)) as manager:
        tenant = manager.get_or_create_runtime_with_model("tenant", ModelConfig(path, "model"))
        manager.lora.load("own", adapter, "tenant")
        manager.set_tenant_lora_adapter("tenant", "own")
        messages = document["messages"]

        def ask_through() -> None:
            connection.sendall(request)
            answer = b""
            while (found := _WHOLE.match(answer)) is None or len(found[2]) < int(found[1]):
                answer += connection.recv(1 << 16)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"a request of one token: {answer[:200]!r}")

        def ask_inside() -> None:
            tenant.generate(messages=messages, max_tokens=1, temperature=0.8, seed=0)

        for _ in range(arguments.short_requests // _BLOCK):
            for ask_one, found in ((ask_through, through), (ask_inside, inside)):
                ask_one()  # the other's weights and code leave the caches
                for _ in range(_BLOCK):
                    time.sleep(_PAUSE_SECONDS)
                    started = time.perf_counter()
                    ask_one()
                    found.append(time.perf_counter() - started)
    connection.close()
    return through, inside


def in_process(
    path: Path, adapters: list[Path], scripts: list[Script], arguments: argparse.Namespace
) -> float:
    """Tokens a second of the same scripts in this process, a thread each and no text on the way."""
    documents = [json.loads(script.body) for script in scripts]
    counts: list[int] = []
    with RuntimeManager(EngineConfig(threads=arguments.threads)) as manager:
        tenants = []
        for number, adapter in enumerate(adapters):
            name = f"tenant-{number}"
            tenants.append(manager.get_or_create_runtime_with_model(name, ModelConfig(path, "m")))
            manager.lora.load("own", adapter, name)
            manager.set_tenant_lora_adapter(name, "own")
        started = time.perf_counter()
        end = started + arguments.seconds_in_process

        def client(number: int) -> None:
            asked = documents[number]
            while time.perf_counter() < end:
                result = tenants[number % len(tenants)].generate(
                    messages=asked["messages"],
                    max_tokens=asked["max_tokens"],
                    temperature=asked["temperature"],
                    seed=asked["seed"],
                    draft_k=arguments.draft_k,
                )
                counts.append(len(result.token_ids))

        with ThreadPoolExecutor(len(scripts)) as pool:
            list(pool.map(client, range(len(scripts))))
        return sum(counts) / (time.perf_counter() - started)


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p90, p99 and the largest, in milliseconds."""
    ordered = sorted(values)
    at = {f"p{p}": ordered[min(len(ordered) - 1, len(ordered) * p // 100)] for p in (50, 90, 99)}
    return {name: round(1e3 * value, 3) for name, value in (at | {"max": ordered[-1]}).items()}


def main() -> int:
    """Run, print, write the JSON; 1 when an answer failed or differed."""
    parser = command_line.parser(__doc__, "model", "threads", "output")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--tenants", type=int, default=16)
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64, help="of an answer")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--draft-k", type=int, default=0, help="texts repeat: all would be drafted")
    parser.add_argument("--seconds-in-process", type=float, default=30.0)
    parser.add_argument(
        "--short-requests", type=int, default=200, help="of one token, for the front"
    )
    arguments = parser.parse_args()
    path = Catalog().obtain(arguments.model)
    document = results.begin(model=path.name)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = read_adapter_base(path)
        adapters = [
            write_random_adapter(folder / f"{number}.gguf", base, arguments.rank, number)
            for number in range(arguments.tenants)
        ]
        with Served(
            folder / "home", path, arguments.threads, "--draft-k", str(arguments.draft_k)
        ) as served:
            keys = [
                served.add_tenant(f"tenant-{number}", adapter)
                for number, adapter in enumerate(adapters)
            ]
            scripts = make_scripts(keys, served.model, arguments.clients, arguments.tokens)
            alone = asyncio.run(solo(served.port, scripts))
            before = served.resident_bytes()
            started = time.perf_counter()
            tally = asyncio.run(load(served.port, scripts, alone, arguments.seconds))
            seconds = time.perf_counter() - started
            after = served.resident_bytes()
            through, inside = one_token(served, path, adapters[0], scripts[0], arguments)
        same_inside = in_process(path, adapters, scripts, arguments)
        bench = served.in_process(
            arguments.clients, arguments.tenants, arguments.rank, arguments.tokens
        )
    rate = tally.tokens / seconds
    overhead = statistics.median(through) - statistics.median(inside)
    document |= {
        "threads": arguments.threads,
        "clients": arguments.clients,
        "tenants": arguments.tenants,
        "draft_k": arguments.draft_k,
        "seconds": round(seconds, 1),
        "answers": tally.answers,
        "failures": len(tally.failures),
        "first_failures": tally.failures[:5],
        "different_answers": tally.different,
        "distinct_texts_alone": len(set(alone)),
        "tokens_per_second": round(rate, 1),
        "in_process": bench,
        "share_of_bench_tenants": round(rate / bench["tokens_per_second_overall"], 4),
        "share_of_bench_tenants_decoding": round(rate / bench["tokens_per_second"], 4),
        "same_scripts_in_process_tokens_per_second": round(same_inside, 1),
        "share_of_same_scripts_in_process": round(rate / same_inside, 4),
        "first_token_ms": percentiles(tally.first),
        "inter_token_ms": percentiles(tally.gaps),
        "front_overhead_p50_ms": round(1e3 * overhead, 3),
        "one_token_through_http_ms": percentiles(through),
        "one_token_in_process_ms": percentiles(inside),
        "resident_bytes_before": before,
        "resident_bytes_after": after,
        "client_resident_bytes": resident_bytes(),
    }
    print(json.dumps(document, indent=2))
    print(f"written: {results.write(document, 'serve-load', arguments.output)}")
    return int(bool(tally.failures or tally.different))


if __name__ == "__main__":
    sys.exit(main())
