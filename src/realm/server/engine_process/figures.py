"""The engine's figures as the front shows them.

Of the engine: steps, rows, step_seconds (in all), batch_fill (of the last step, 0 to 1), sequences,
running (generations and embeddings), preemptions, reused_pages, free_pages (of all models),
resident_adapters, resident_adapter_bytes, adapter_loads, resident_bytes (of the whole process). Of
a tenant: the fields of TenantMetrics.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realm.runtime import RuntimeManager
    from realm.runtime.engine_figures import EngineFigures


def figures_of(figures: EngineFigures) -> dict[str, float]:
    """Of the engine, by name."""
    told = asdict(figures)
    told["free_pages"] = sum(figures.free_pages.values())
    told["resident_bytes"] = _resident_bytes()
    return {name: float(value) for name, value in told.items()}


def tenant_figures(manager: RuntimeManager) -> dict[str, dict[str, Any]]:
    """Of every tenant that has been served, by id."""
    return {tenant_id: asdict(each) for tenant_id, each in manager.metrics().items()}


def _resident_bytes() -> int:
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
