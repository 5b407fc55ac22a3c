"""What speculation keeps of one tenant: recent outputs, chances, counts. Never another's."""

from __future__ import annotations

from realm.config import SpeculativeConfig
from realm.engine.speculation.calibration import Calibration
from realm.engine.speculation.gate import DraftGate
from realm.engine.speculation.history import TenantHistory
from realm.engine.speculation.metrics import SpeculationCounter, SpeculationMetrics


class TenantSpeculation:
    """One for each tenant, model and set of adapters; the sequences of the tenant share it.

    counter: of the tenant; it may be shared with the tenant's other models.
    """

    __slots__ = ("calibration", "config", "counter", "gate", "history")

    def __init__(
        self, config: SpeculativeConfig, counter: SpeculationCounter | None = None
    ) -> None:
        self.config = config
        self.calibration = Calibration()
        self.gate = DraftGate()
        self.history = TenantHistory(config.history_tokens, config.history_entries)
        self.counter = counter or SpeculationCounter()

    @property
    def metrics(self) -> SpeculationMetrics:
        """What became of this tenant's drafts."""
        return self.counter.metrics
