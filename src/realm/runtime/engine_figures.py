"""What an engine has done and holds, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realm.engine import Engine
    from realm.lora import LoRAManager
    from realm.model import StoredModel


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """steps, rows, step_seconds: of all steps, their rows and their native calls. batch_fill: of
    the last step, the share of the rows that it may have. sequences: open now. free_pages: of each
    model that has had a session, by name. Adapters: now, and how often one was loaded.
    """

    steps: int
    rows: int
    step_seconds: float
    batch_fill: float
    sequences: int
    preemptions: int
    reused_pages: int
    free_pages: Mapping[str, int]
    resident_adapters: int
    resident_adapter_bytes: int
    adapter_loads: int


def read_engine_figures(
    engine: Engine, lora: LoRAManager, models: Mapping[str, StoredModel]
) -> EngineFigures:
    """The figures now. For the engine's thread."""
    free = {name: engine.free_page_count(model) for name, model in list(models.items())}
    resident, loads = lora.counts
    return EngineFigures(
        steps=engine.step_count,
        rows=engine.row_count,
        step_seconds=engine.native_seconds,
        batch_fill=engine.batch_fill,
        sequences=engine.sequence_count,
        preemptions=engine.preemption_count,
        reused_pages=engine.reused_page_count,
        free_pages={name: count for name, count in free.items() if count is not None},
        resident_adapters=resident,
        resident_adapter_bytes=lora.resident_bytes,
        adapter_loads=loads,
    )
