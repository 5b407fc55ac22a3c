"""Faults of what the server writes to: a full disk, a locked, removed or spoiled database."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fault_clients import Neighbour, ask_again_and_again
from fault_ground import Finding, Ground

_LOCKED_SECONDS = 20.0
_SLOWEST_SECONDS = 3.0
_WRITING_SECONDS = 3.0
_LOCK = """
import sqlite3, sys, time
held = []
for path in sys.argv[2:]:
    held.append(sqlite3.connect(path, isolation_level=None))
    held[-1].execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(float(sys.argv[1]))
"""
T = TypeVar("T")


def _beside(ground: Ground, act: Callable[[], T], neighbour: Neighbour) -> T:
    """What `act` gives, while honest clients go on."""

    async def run() -> T:
        over = asyncio.Event()
        asking = ask_again_and_again(ground.port, ground.speaking_keys, neighbour, over)
        task = asyncio.create_task(asking)
        try:
            return await asyncio.to_thread(act)
        finally:
            over.set()
            await task

    return asyncio.run(run())


def _writes(ground: Ground) -> dict[str, list[int]]:
    """The statuses of writes of each kind, again and again for a while."""
    writes = {
        "tenant": ("PUT", "/admin/tenants/refused", b"{}"),
        "change": ("PATCH", "/admin/tenants/plain", b'{"weight": 3.0}'),
        "key": ("POST", "/admin/tenants/plain/keys", b"{}"),
        "adapter": ("PUT", "/admin/tenants/plain/adapters/refused", ground.adapter.read_bytes()),
        "removal": ("DELETE", "/admin/tenants/own-one", b""),
    }
    statuses: dict[str, set[int]] = {name: set() for name in writes}
    end = time.monotonic() + _WRITING_SECONDS
    while time.monotonic() < end:
        for name, write in writes.items():
            statuses[name].add(ground.administer(*write))
    return {name: sorted(each) for name, each in statuses.items()}


def _refused(ground: Ground, finding: Finding) -> None:
    """Every write is told 503, and whoever generates goes on."""
    neighbour = Neighbour()
    statuses = _beside(ground, lambda: _writes(ground), neighbour)
    finding.seen |= {"writes": statuses, "neighbours": neighbour.figures()}
    is_refused = all(each == [503] for each in statuses.values())
    finding.require(is_refused, f"writes were answered {statuses}")
    _went_on(finding, neighbour)


def _went_on(finding: Finding, neighbour: Neighbour) -> None:
    finding.require(neighbour.seconds and not neighbour.failures, "generation did not go on")
    finding.require(max(neighbour.seconds, default=0.0) <= _SLOWEST_SECONDS, "generation stalled")


def _taken_again(ground: Ground, finding: Finding) -> None:
    """What was refused is taken once the fault is over; then all is as it was."""
    since = time.perf_counter()
    made = ground.administer("PUT", "/admin/tenants/taken", b"{}")
    gone = ground.administer("DELETE", "/admin/tenants/taken")
    finding.back_seconds.append(time.perf_counter() - since)
    finding.require((made, gone) == (201, 204), f"writes afterwards: {made}, {gone}")


def disk_full(ground: Ground, finding: Finding) -> None:
    """Not a byte is left where the data directory is (a small file system in memory)."""
    filler = ground.data / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    _refused(ground, finding)
    finding.seen["counting_program"] = ground.ask(ground.keys["counting"])[0]
    filler.unlink()
    _taken_again(ground, finding)


def files_limited(ground: Ground, finding: Finding) -> None:
    """Neither process may make a file longer (RLIMIT_FSIZE), their logs neither."""
    pids = [ground.served.pid, ground.served.engine_pid()]
    before = [resource.prlimit(pid, resource.RLIMIT_FSIZE) for pid in pids]
    for pid, (_, hard) in zip(pids, before, strict=True):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    _refused(ground, finding)
    finding.seen["counting_program"] = ground.ask(ground.keys["counting"])[0]
    for pid, limits in zip(pids, before, strict=True):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    _taken_again(ground, finding)


def database_locked(ground: Ground, finding: Finding) -> None:
    """Another process holds the lock of both databases for 20 seconds."""
    paths = [str(ground.data / name) for name in ("realm.db", "engine.db")]
    command = [sys.executable, "-c", _LOCK, str(_LOCKED_SECONDS), *paths]
    neighbour = Neighbour()

    def act() -> tuple[Counter[int], float]:
        statuses: Counter[int] = Counter()
        slowest = 0.0
        counting: Counter[int] = Counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as locker:
            assert locker.stdout is not None
            locker.stdout.readline()
            end = time.monotonic() + _LOCKED_SECONDS - 6.0  # what waits for a lock is told by then
            while time.monotonic() < end:
                started = time.perf_counter()
                statuses[ground.administer("PUT", "/admin/tenants/refused", b"{}")] += 1
                slowest = max(slowest, time.perf_counter() - started)
                counting[ground.ask(ground.keys["counting"])[0]] += 1
        finding.seen["counting_program"] = dict(counting)
        return statuses, slowest

    statuses, slowest = _beside(ground, act, neighbour)
    finding.seen |= {
        "writes": dict(statuses),
        "slowest_write_seconds": round(slowest, 2),
        "neighbours": neighbour.figures(),
    }
    finding.require(set(statuses) == {503}, f"writes were answered {dict(statuses)}")
    _went_on(finding, neighbour)
    _taken_again(ground, finding)


def database_removed(ground: Ground, finding: Finding) -> None:
    """The database's file is moved away while the server runs, and put back later."""
    names = ("realm.db", "realm.db-wal", "realm.db-shm")
    away = ground.folder / "away"
    away.mkdir()
    for name in names:
        (ground.data / name).rename(away / name)
    _refused(ground, finding)
    finding.require(not (ground.data / "realm.db").exists(), "an empty database was made")
    for name in names:
        (away / name).rename(ground.data / name)
    _taken_again(ground, finding)
    finding.require("cannot be read" in ground.log(), "the log does not say it")


def database_spoiled(ground: Ground, finding: Finding) -> None:
    """The database's file is overwritten while the server runs; later its backup is put back."""
    path = ground.data / "realm.db"
    log = ground.data / "realm.db-wal"
    subprocess.run(
        [sys.executable, "-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("
         "'VACUUM INTO ?', [sys.argv[2]])", str(path), str(ground.folder / "backup.db")],
        check=True,
    )  # fmt: skip
    _overwrite(path, os.urandom(path.stat().st_size))
    _overwrite(log, os.urandom(log.stat().st_size))
    _refused(ground, finding)
    ground.served.__exit__(None, None, None)
    spoiled = path.read_bytes()
    command = [sys.executable, "-m", "realm.cli.main", "serve", "--port", "0"]
    command += ["--model", f"model={ground.model}"]
    place = os.environ | {"REALM_HOME": str(ground.folder)}
    done = subprocess.run(
        command, check=False, env=place, capture_output=True, text=True, timeout=60.0
    )
    finding.seen["start_on_it"] = {"exit_status": done.returncode, "told": done.stderr[-300:]}
    finding.require(done.returncode not in (0, -9), "a server started on it")
    finding.require("Traceback" not in done.stderr, "it says so with a traceback")
    finding.require(path.read_bytes() == spoiled, "the start wrote to the spoiled file")
    for name in ("realm.db", "realm.db-wal", "realm.db-shm"):
        (ground.data / name).unlink(missing_ok=True)
    (ground.folder / "backup.db").rename(path)
    since = time.perf_counter()
    ground.restart()
    finding.back_seconds.append(ground.wait_until_back(since))


def _overwrite(path: Path, content: bytes) -> None:
    with path.open("r+b") as file:
        file.write(content)
