"""Faults of processes: killed, stopped, started where another one is."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from fault_clients import Seen, counted, stream_over_http, stream_over_web_socket
from fault_ground import Finding, Ground

_CLIENTS = 16
_TOKENS = 1500
_BACK_SECONDS = 3.0
_HUNG_SECONDS = 35.0
_ORPHAN_SECONDS = 2.0


async def _streaming(ground: Ground, act: signal.Signals, pid: int) -> tuple[list[Seen], float]:
    """Clients of both kinds; the process gets its signal once each has text. What they saw, and
    when it was sent."""
    seen = [Seen() for _ in range(_CLIENTS)]
    kinds = (stream_over_http, stream_over_web_socket)
    keys = ground.speaking_keys
    clients = [
        asyncio.create_task(kinds[n % 2](ground.port, keys[n % len(keys)], _TOKENS, each))
        for n, each in enumerate(seen)
    ]
    while not all(each.pieces >= 3 or client.done() for each, client in zip(seen, clients)):  # noqa: B905
        await asyncio.sleep(0.01)
    os.kill(pid, act)
    since = time.perf_counter()
    await asyncio.gather(*clients)
    return seen, since


def _fill_in(finding: Finding, seen: list[Seen], wanted: str) -> None:
    finding.seen["clients"] = counted(seen)
    finding.seen["slowest_client_seconds"] = round(max(each.seconds for each in seen), 2)
    wrong = [each for each in seen if each.end != wanted]
    finding.require(not wrong, f"{len(wrong)} clients did not see {wanted!r}")


def engine_killed(ground: Ground, finding: Finding) -> None:
    """kill -9 of the engine while 16 clients stream."""
    pid = ground.served.engine_pid()
    seen, since = asyncio.run(_streaming(ground, signal.SIGKILL, pid))
    back = ground.wait_until_back(since)
    finding.back_seconds.append(back)
    _fill_in(finding, seen, "error")
    finding.require(back <= _BACK_SECONDS, f"back only after {back:.1f} s")


def engine_killed_again_and_again(ground: Ground, finding: Finding) -> None:
    """kill -9 of the engine five times, each time as soon as it generates."""
    for _ in range(5):
        os.kill(ground.served.engine_pid(), signal.SIGKILL)
        finding.back_seconds.append(ground.wait_until_back(time.perf_counter()))
    slowest = max(finding.back_seconds)
    finding.require(slowest <= _BACK_SECONDS, f"back only after {slowest:.1f} s")


def engine_killed_at_its_start(ground: Ground, finding: Finding) -> None:
    """kill -9 of the engine ten times while it starts."""
    since = time.perf_counter()
    killed: set[int] = set()
    while len(killed) < 10:
        try:
            pid = ground.served.engine_pid()
            if pid not in killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        except (IndexError, ProcessLookupError):
            pass
        finding.require(time.perf_counter() - since < 90.0, "no new engine comes")
        if finding.problems:
            return
        time.sleep(0.02)
    finding.seen["seconds_of_ten_kills"] = round(time.perf_counter() - since, 2)
    # The last delay is the longest, ten seconds: a model that kills its engine must not cost all.
    finding.back_seconds.append(ground.wait_until_back(time.perf_counter()))
    finding.require(finding.back_seconds[0] <= 10.0 + _BACK_SECONDS, "back too late")


def engine_stopped(ground: Ground, finding: Finding) -> None:
    """SIGSTOP of the engine while 16 clients stream: it is there and does not answer."""
    pid = ground.served.engine_pid()
    seen, since = asyncio.run(_streaming(ground, signal.SIGSTOP, pid))
    back = ground.wait_until_back(since)
    finding.back_seconds.append(back)
    _fill_in(finding, seen, "error")
    finding.require(back <= _HUNG_SECONDS, f"back only after {back:.1f} s")
    finding.require(not Path(f"/proc/{pid}/exe").exists(), "the hung process is still there")


def front_killed(ground: Ground, finding: Finding) -> None:
    """kill -9 of the front while 16 clients stream; then a server with the same data."""
    front, engine = ground.served.pid, ground.served.engine_pid()
    before = ground.counted()
    started = time.perf_counter()
    seen, _ = asyncio.run(_streaming(ground, signal.SIGKILL, front))
    _fill_in(finding, seen, "cut")
    since = time.perf_counter()
    while Path(f"/proc/{engine}/exe").exists() and time.perf_counter() - since < 10.0:
        time.sleep(0.01)
    gone = time.perf_counter() - since
    finding.seen["engine_gone_after_seconds"] = round(gone, 2)
    finding.require(gone <= _ORPHAN_SECONDS, f"the engine lived on for {gone:.1f} s")
    finding.seen["seconds_until_killed"] = round(since - started, 2)
    since = time.perf_counter()
    ground.restart()
    finding.back_seconds.append(ground.wait_until_back(since))
    finding.require(ground.counted() == before + 1, "the program's count is another")


def front_killed_and_started_at_once(ground: Ground, finding: Finding) -> None:
    """kill -9 of the front, and a new server before the old engine has gone."""
    for _ in range(3):
        os.kill(ground.served.pid, signal.SIGKILL)
        since = time.perf_counter()
        ground.restart()
        finding.back_seconds.append(ground.wait_until_back(since))


def port_taken(ground: Ground, finding: Finding) -> None:
    """A second server where this one listens."""
    command = [sys.executable, "-m", "realm.cli.main", "serve"]
    command += ["--model", f"model={ground.model}", "--port", str(ground.port)]
    other = os.environ | {"REALM_HOME": str(ground.folder / "other")}
    started = time.perf_counter()
    done = subprocess.run(
        command, check=False, env=other, capture_output=True, text=True, timeout=60.0
    )
    finding.seen |= {
        "exit_status": done.returncode,
        "told": done.stderr.strip()[-300:],
        "seconds": round(time.perf_counter() - started, 2),
    }
    finding.require(done.returncode not in (0, -9), "the second server did not refuse")
    finding.require("--port" in done.stderr, "it does not say what to do")
    finding.require("Traceback" not in done.stderr, "it says so with a traceback")
