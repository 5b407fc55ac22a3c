"""`realm serve` as a process of its own, with tenants that an administrator makes over HTTP."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

import realm_bench

_START_SECONDS = 60.0


class Served:
    """A server on a free port of this machine; a context manager. port: where it listens. pid: of
    the front."""

    model = "model"

    def __init__(
        self, home: Path, path: Path, threads: int, *words: str, admin_key: str | None = None
    ) -> None:
        """home: a folder of its own, or an earlier server's with its admin_key. words: further
        options of `realm serve`."""
        self._path = path
        self._threads = threads
        self._environment = os.environ | {"REALM_HOME": str(home)}
        home.mkdir(parents=True, exist_ok=True)
        database = f"sqlite:///{home / 'server' / 'realm.db'}"
        create = ("keys", "create", "--admin", "--database", database)
        self.admin_key: str = admin_key or self._realm(*create)["key"]
        self._log = (home / "log").open("ab")
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "realm.cli.main", "serve"),
                *("--model", f"{self.model}={path}", "--port", "0", "--threads", str(threads)),
                *words,
            ],
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=self._environment,
            text=True,
        )
        assert self._process.stdout is not None
        found = re.search(r"http://[^:]+:(\d+)", self._process.stdout.readline())
        if found is None:
            raise SystemExit(f"realm serve did not start:\n{(home / 'log').read_text()}")
        self.port = int(found[1])
        self.pid = self._process.pid
        self._wait_until_ready()

    def add_tenant(self, tenant_id: str, adapter: Path | None = None) -> str:
        """A new tenant with an adapter of its own; its key."""
        place = f"/admin/tenants/{tenant_id}"
        own = {} if adapter is None else {"adapter": "own"}
        self.administer("PUT", place, json.dumps({"tenant_id": tenant_id}).encode())
        if adapter is not None:
            self.administer("PUT", f"{place}/adapters/own", adapter.read_bytes())
        self.administer("PUT", place, json.dumps({"tenant_id": tenant_id} | own).encode())
        return str(self.administer("POST", f"{place}/keys", b"{}")["key"])

    def administer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        """The answer of the admin API. Raises SystemExit for a refusal."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            body,
            {"Authorization": f"Bearer {self.admin_key}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return dict(json.loads(answer.read() or b"{}"))
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.code} {error.read().decode()}") from None

    def resident_bytes(self) -> dict[str, int]:
        """Memory of the front and of the engine process."""
        return {"front": _resident(self._process.pid), "engine": _resident(self.engine_pid())}

    def engine_pid(self) -> int:
        """The front's child."""
        place = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return int(place.read_text().split()[0])

    def in_process(self, tenants: int, adapters: int, rank: int, tokens: int) -> dict[str, Any]:
        """What `realm bench tenants` says of as many sequences, without a server."""
        words = ("--tenants", str(tenants), "--adapters", str(adapters), "--rank", str(rank))
        words += ("--tokens", str(tokens))
        return realm_bench.run(
            "tenants", self._path, *words, threads=self._threads, repeats=3, prompt_tokens=40
        )

    def __enter__(self) -> Served:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._log.close()

    def _realm(self, *words: str) -> dict[str, Any]:
        command = [sys.executable, "-m", "realm.cli.main", *words, "--json"]
        done = subprocess.run(command, env=self._environment, capture_output=True, check=True)
        return dict(json.loads(done.stdout))

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ready").close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise SystemExit("the engine of realm serve did not become ready")


def _resident(pid: int) -> int:
    fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
