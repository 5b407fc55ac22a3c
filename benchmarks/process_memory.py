"""Memory and memory maps of this process, as the kernel counts them. Linux only."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path


def resident_bytes(*, trimmed: bool = False) -> int:
    """Memory of this process, after every object that can go has gone.

    trimmed: what the allocator keeps for later goes too.
    """
    gc.collect()
    if trimmed:
        ctypes.CDLL(None).malloc_trim(0)
    fields = Path("/proc/self/statm").read_text(encoding="ascii").split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def map_count() -> int:
    """Memory maps of this process; the kernel allows 65,530 unless told otherwise."""
    with Path("/proc/self/maps").open(encoding="utf-8") as lines:
        return sum(1 for _ in lines)
