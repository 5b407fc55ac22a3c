"""Runs one program to its end and says how long it took and how much memory it held."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finished:
    """peak_rss_bytes: as the kernel counted it for that process alone."""

    stdout: str
    seconds: float
    peak_rss_bytes: int


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Finished:
    """Run the command; SystemExit with the end of its messages when it fails."""
    with tempfile.TemporaryFile() as messages:
        started = time.perf_counter()
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
