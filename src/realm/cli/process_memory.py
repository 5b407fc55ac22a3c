"""The most memory that this process has held. Reads the kernel's figures, changes nothing."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_PEAK = "VmHWM:"


def peak_memory_bytes() -> int:
    """Peak resident set of this process in bytes, from its first instruction to now.

    Linux's `VmHWM` is asked first: `ru_maxrss` survives an exec, so that a small process started
    by a large one would report the large one's peak.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(_PEAK):
                return int(line.removeprefix(_PEAK).split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
