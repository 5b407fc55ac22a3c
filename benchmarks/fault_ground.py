"""A server with four tenants whose answers are known, to which something will happen.

One tenant has nothing of its own, two an adapter each, one a program that counts its requests in
what it keeps; a fifth key is turned off. `look` says all of it by what clients and administrators
can see, so that two looks tell what a fault has cost.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wasmtime
from fault_clients import chat_body
from served import Served

TENANTS = ("plain", "own-one", "own-two", "counting")
COUNTER = """(module
  (import "env" "realm_state_get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "env" "realm_state_put" (func $put (param i32 i32 i32 i32) (result i32)))
  (import "env" "realm_stream_token" (func $stream (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "n")
  (global $next (mut i32) (i32.const 65536))
  (func (export "realm_abi_version") (result i32) (i32.const 1))
  (func (export "realm_alloc") (param i32) (result i32) (global.get $next))
  (func (export "realm_free") (param i32 i32))
  (func (export "realm_handle") (param i32 i32) (result i32) (local $size i32)
    (local.set $size (call $get (i32.const 0) (i32.const 1) (i32.const 64) (i32.const 8192)))
    (if (i32.lt_s (local.get $size) (i32.const 0)) (then (local.set $size (i32.const 0))))
    (i32.store8 (i32.add (i32.const 64) (local.get $size)) (i32.const 120))
    (local.set $size (i32.add (local.get $size) (i32.const 1)))
    (if (i32.lt_s
          (call $put (i32.const 0) (i32.const 1) (i32.const 64) (local.get $size)) (i32.const 0))
      (then (return (i32.const -1))))
    (call $stream (i32.const 64) (local.get $size))))"""
"""Answers with as many x as it has had requests, this one too; a request is one more only when its
count is on the disk."""

SETTINGS = """
header_seconds = 3.0
keep_alive_seconds = 5.0
[limits]
max_tokens = 100000
"""
_SETTLED_SECONDS = 75.0  # a WebSocket whose peer is silent is found by its pings
_READY_SECONDS = 60.0
MORE = {"files": 2, "threads": 2}
"""That a process may have when all has settled."""


@dataclass(slots=True)
class Finding:
    """What a fault did. back_seconds: until a key generated again. problems: why it failed."""

    seen: dict[str, Any] = field(default_factory=dict)
    back_seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def require(self, holds: object, text: str) -> None:
        """Notes the problem where it does not."""
        if not holds:
            self.problems.append(text)


class Ground:
    """The server; a context manager."""

    def __init__(self, folder: Path, model: Path, adapters: Sequence[Path], threads: int) -> None:
        """folder: the home of the server, with whatever is mounted in it."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.adapter = adapters[0]
        self.model = model
        self._threads = threads
        self._settings = folder / "settings.toml"
        self._settings.write_text(SETTINGS)
        self.served = self._start()
        own = {"own-one": adapters[0], "own-two": adapters[1]}
        self.keys = {name: self.served.add_tenant(name, own.get(name)) for name in TENANTS}
        administer = self.served.administer
        wasm = bytes(wasmtime.wat2wasm(COUNTER))
        administer("PUT", "/admin/tenants/counting/programs/counter", wasm)
        administer("PATCH", "/admin/tenants/counting", b'{"program": "counter"}')
        administer("PUT", "/admin/adapters/everyones", adapters[1].read_bytes())
        off = administer("POST", "/admin/tenants/plain/keys", b"{}")
        self.off_key = str(off["key"])
        administer("PATCH", f"/admin/keys/{off['prefix']}", b'{"is_enabled": false}')

    def __enter__(self) -> Ground:
        return self

    def __exit__(self, *unused: object) -> None:
        self.served.__exit__(None, None, None)

    @property
    def port(self) -> int:
        """Where the server listens now."""
        return self.served.port

    @property
    def data(self) -> Path:
        """The server's data directory."""
        return self.folder / "server"

    @property
    def speaking_keys(self) -> list[str]:
        """Of the tenants that use the model."""
        return [self.keys[name] for name in TENANTS[:3]]

    def restart(self) -> None:
        """A new server with the same data, once the old one has gone."""
        key = self.served.admin_key
        self.served.__exit__(None, None, None)
        self.served = self._start(key)

    def ask(self, key: str) -> tuple[int, str]:
        """The status and the text of a short answer."""
        body = chat_body(12, stream=False)
        status, document = self.call("POST", "/v1/chat/completions", body, key)
        if status != 200:
            return status, json.dumps(document)
        return status, str(document["choices"][0]["message"]["content"])

    def counted(self) -> int:
        """How many requests the program has had by its own account, this one among them. Raises
        RuntimeError when it does not say."""
        status, text = self.ask(self.keys["counting"])
        if status != 200 or text != "x" * len(text):
            raise RuntimeError(f"the counting program: {status} {text[:200]}")
        return len(text)

    def administer(self, method: str, path: str, body: bytes = b"") -> int:
        """The status of an administrator's request."""
        return self.call(method, path, body, self.served.admin_key)[0]

    def call(
        self, method: str, path: str, body: bytes, key: str, seconds: float = 60.0
    ) -> tuple[int, dict[str, Any]]:
        """Status 0 when no answer came."""
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            body or None,
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(asked, timeout=seconds) as answer:
                return int(answer.status), dict(json.loads(answer.read() or b"{}"))
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(json.loads(error.read() or b"{}"))
        except OSError as error:
            return 0, {"error": str(error)}

    def wait_until_back(self, since: float) -> float:
        """Seconds from then until a key generated. Raises TimeoutError."""
        key = self.keys["own-one"]
        while time.perf_counter() - since < _READY_SECONDS:
            if self.ask(key)[0] == 200:
                return time.perf_counter() - since
            time.sleep(0.01)
        raise TimeoutError(f"nothing generates after {_READY_SECONDS:g} seconds")

    def warm_up(self) -> None:
        """Whatever grows with the first use has grown."""
        with ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(lambda _: self.administer("GET", "/admin/keys"), range(64)))
            statuses += [each[0] for each in pool.map(self.ask, self.speaking_keys * 16)]
        if set(statuses) != {200}:
            raise RuntimeError(f"while it warmed up: {sorted(set(statuses))}")

    def look(self) -> dict[str, Any]:
        """All tenants, keys, items and answers; the program's count is checked and then known."""
        listing: dict[str, Any] = {}
        pages = ["/admin/tenants", "/admin/keys"]
        for kind in ("adapters", "programs", "drafts"):
            pages += [f"/admin/{kind}", *(f"/admin/tenants/{name}/{kind}" for name in TENANTS)]
        for page in pages:
            status, document = self.call("GET", page, b"", self.served.admin_key)
            listing[page] = [status, document.get("data", document)]
        answers = {name: list(self.ask(self.keys[name])) for name in TENANTS[:3]}
        off = self.ask(self.off_key)[0]
        return {"listing": listing, "answers": answers, "key_turned_off": off}

    def figures(self) -> dict[str, dict[str, int]]:
        """Files, threads and memory of both processes. Nothing of a process that is not there."""
        found = {}
        for name in ("front", "engine"):
            with suppress(OSError, IndexError):
                pid = self.served.pid if name == "front" else self.served.engine_pid()
                found[name] = _figures_of(pid)
        return found

    def settle(self, before: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        """The figures once they are as before, or as they are after a long wait."""
        end = time.monotonic() + _SETTLED_SECONDS
        while True:
            now = self.figures()
            is_settled = all(
                now.get(name, {}).get(figure, 1 << 30) <= before[name][figure] + more
                for name in before
                for figure, more in MORE.items()
            )
            if is_settled or time.monotonic() > end:
                return now
            time.sleep(0.25)

    def log(self) -> str:
        """All that the server has said."""
        return (self.folder / "log").read_text(errors="replace")

    def _start(self, admin_key: str | None = None) -> Served:
        words = ("--config", str(self._settings), "--keys-required")
        return Served(self.folder, self.model, self._threads, *words, admin_key=admin_key)


def _figures_of(pid: int) -> dict[str, int]:
    place = Path(f"/proc/{pid}")
    resident = int((place / "statm").read_text().split()[1]) * 4096
    return {
        "files": len(list((place / "fd").iterdir())),
        "threads": len(list((place / "task").iterdir())),
        "resident_bytes": resident,
    }
