"""Facts of the machine that a figure was taken on. No host name, no user, no path."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

_INTERESTING = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimd")


def describe() -> dict[str, object]:
    """Processor, cores, instruction sets, memory and load."""
    facts = _cpu_facts()
    present = set(str(facts.get("flags", facts.get("Features", ""))).split())
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": facts.get("model name", platform.machine()),
        "family_model": f"{facts.get('cpu family', '?')}/{facts.get('model', '?')}",
        "cores": len(os.sched_getaffinity(0)),
        "instruction_sets": [name for name in _INTERESTING if name in present],
        "memory_bytes": pages,
        "system": f"{platform.system()} {platform.machine()}",
        "load_average": round(os.getloadavg()[0], 2),
    }


def slug(processor: object) -> str:
    """The processor's name as a part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", str(processor).lower()).strip("-")


def _cpu_facts() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
