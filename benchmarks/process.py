"""Runs one program to its end and says how long it took and how much memory it held."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finished:
    """peak_rss_bytes: as the kernel counted it for that process alone."""

    stdout: str
    seconds: float
    peak_rss_bytes: int


def run(
    command: Sequence[str],
    environment: Mapping[str, str] | None = None,
    cores: Sequence[int] | None = None,
) -> Finished:
    """Run the command; SystemExit with the end of its messages when it fails.

    cores: the only ones it may run on; None leaves it all that this process has.
    """
    with tempfile.TemporaryFile() as messages:
        started = time.perf_counter()
        with _confined_to(cores):  # what is started inherits it
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=messages, env=environment
            )
        assert process.stdout is not None
        with process.stdout:
            stdout = process.stdout.read().decode("utf-8", errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        if process.returncode:
            messages.seek(0)
            tail = messages.read().decode("utf-8", errors="replace")[-2000:]
            raise SystemExit(f"{' '.join(command)} failed ({process.returncode}):\n{tail}")
    return Finished(stdout, seconds, usage.ru_maxrss * 1024)


@contextmanager
def _confined_to(cores: Sequence[int] | None) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before if cores is None else cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def busy_on(core: int) -> Iterator[None]:
    """While inside, another process computes on that core without a pause."""
    code = f"import os; os.sched_setaffinity(0, [{core}]); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has begun
        try:
            yield
        finally:
            process.kill()
