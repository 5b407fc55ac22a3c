"""llama-server with adapters: started, asked by many clients at once, stopped."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peers

START_SECONDS, ANSWER_SECONDS = 120.0, 900.0
PORT = 18099


@dataclass(frozen=True, slots=True)
class Round:
    """Every client's one answer. seconds: from the first request to the last answer."""

    tokens: int
    prompt_tokens: int
    seconds: float


class LlamaServer:
    """A running server; its clients are numbered from 0."""

    def __init__(self, process_id: int, port: int) -> None:
        self._process_id = process_id
        self._url = f"http://127.0.0.1:{port}"

    def ask(self, prompts: Sequence[Sequence[int]], tokens: int, *, adapted: bool) -> Round:
        """One request of each prompt, all at once; the n-th takes the n-th adapter, or none."""

        def complete(client: int) -> dict[str, Any]:
            body: dict[str, Any] = {
                "prompt": list(prompts[client]),
                "n_predict": tokens,
                "ignore_eos": True,
                "temperature": 0,
                "cache_prompt": False,
            }
            if adapted:
                body["lora"] = [{"id": client, "scale": 1.0}]
            return self._post("/completion", body)

        with ThreadPoolExecutor(len(prompts)) as clients:
            started = time.perf_counter()
            answers = list(clients.map(complete, range(len(prompts))))
            seconds = time.perf_counter() - started
        return Round(
            sum(answer["tokens_predicted"] for answer in answers),
            sum(answer["timings"]["prompt_n"] for answer in answers),
            seconds,
        )

    def peak_rss_bytes(self) -> int:
        """Of the server's process so far."""
        status = Path(f"/proc/{self._process_id}/status").read_text(encoding="utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024

    def wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Raises SystemExit when it ends or is not there in time."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if process.poll() is not None:
                raise SystemExit(f"llama-server ended with {process.returncode}")
            try:
                with urllib.request.urlopen(f"{self._url}/health", timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        raise SystemExit("llama-server does not answer")

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(self._url + path, data, kind)
        with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
            return dict(json.load(answer))


@contextmanager
def serve(
    peer: peers.LlamaCpp,
    model: Path,
    adapters: Sequence[Path],
    *,
    slots: int,
    context: int,
    threads: int,
) -> Iterator[LlamaServer]:
    """A server with these adapters, none applied but on request. Raises SystemExit."""
    if peer.binaries is None:
        raise SystemExit(f"{peer.package} has no llama-server")
    command = [str(peer.binaries / "llama-server"), "-m", str(model), "--port", str(PORT)]
    command += ["--host", "127.0.0.1", "-np", str(slots), "-c", str(context)]
    command += ["-t", str(threads), "-tb", str(threads), "--poll", "0", "--no-webui"]
    if adapters:
        command += ["--lora", ",".join(map(str, adapters)), "--lora-init-without-apply"]
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(
            command, stdout=messages, stderr=messages, env=peer.environment()
        ) as process,
    ):
        try:
            server = LlamaServer(process.pid, PORT)
            server.wait_until_ready(process)
            yield server
        finally:
            process.terminate()
