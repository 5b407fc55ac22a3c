"""The engine's figures read with care: what a message says, as plain numbers.

They come from another process, perhaps of another version: what is missing or no number is 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from realm.server.wire.messages import Figures


@dataclass(frozen=True, slots=True)
class TenantFigures:
    """One tenant's; see `realm.runtime.account.TenantMetrics` for what each means."""

    requests: float = 0.0
    failures: float = 0.0
    traps: float = 0.0
    limits_reached: float = 0.0
    cancelled: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
    guest_seconds: float = 0.0
    live_guests: float = 0.0
    queued_requests: float = 0.0
    memory_bytes: float = 0.0
    cache_bytes: float = 0.0
    cache_pages: float = 0.0
    model_bytes: float = 0.0
    drafted: float = 0.0
    accepted: float = 0.0

    def plus(self, other: TenantFigures) -> TenantFigures:
        """Both together."""
        return TenantFigures(*(getattr(self, n) + getattr(other, n) for n in FIGURE_NAMES))


FIGURE_NAMES: tuple[str, ...] = TenantFigures.__slots__


def tenant_figures(figures: Figures, tenant_id: str) -> TenantFigures:
    """Of one tenant; all 0 when the engine has not seen it."""
    return read_tenant(figures.tenants.get(tenant_id, {}))


def read_tenant(told: Mapping[str, Any]) -> TenantFigures:
    """Of what the engine told of one tenant, drafts by their source or in all."""
    numbers = {name: number(told.get(name)) for name in FIGURE_NAMES}
    speculation = told.get("speculation")
    if isinstance(speculation, Mapping):
        sources = speculation.get("by_source", speculation)
        counts = [each for each in sources.values() if isinstance(each, Mapping)] or [sources]
        for name in ("drafted", "accepted"):
            numbers[name] = sum(number(each.get(name)) for each in counts)
    return TenantFigures(**numbers)


def engine_figure(figures: Figures, name: str) -> float:
    """Of the whole engine process. The fill of the last step is nothing once nothing runs."""
    if name == "batch_fill" and number(figures.engine.get("running", 1)) == 0:
        return 0.0
    return number(figures.engine.get(name))


def batch_fill(figures: Figures) -> float:
    """The share of a step's rows that the last one had, 0 to 1."""
    return min(1.0, max(0.0, engine_figure(figures, "batch_fill")))


def number(value: object) -> float:
    """A finite number as it is, anything else as 0."""
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return 0.0
