"""What speculation keeps of every tenant, each for itself and all of it bounded."""

from __future__ import annotations

from collections.abc import Sequence

from realm.config import SpeculativeConfig
from realm.engine.speculation.metrics import SpeculationCounter, SpeculationMetrics
from realm.engine.speculation.tenant import TenantSpeculation
from realm.memory import PrefixScope

_MOST_SCOPES = 1024  # some 10 KB each without history


class SpeculationBook:
    """A `TenantSpeculation` for each scope: one owner on one model with the same adapters.

    Those that were used least recently are forgotten first; sequences keep the one they have.
    """

    def __init__(self, config: SpeculativeConfig) -> None:
        self._config = config
        self._scopes: dict[PrefixScope, TenantSpeculation] = {}  # the latest last
        self._held_tokens = 0
        self._counters: dict[str, SpeculationCounter] = {}

    def tenant(self, scope: PrefixScope) -> TenantSpeculation:
        """What is known of the scope; the latest from now on."""
        found = self._scopes.pop(scope, None)
        if found is None:
            counter = self._counters.setdefault(scope.owner, SpeculationCounter())
            found = TenantSpeculation(self._config, counter)
        self._scopes[scope] = found
        while len(self._scopes) > _MOST_SCOPES:
            self._forget(next(iter(self._scopes)))
        return found

    def remember(self, scope: PrefixScope, output: Sequence[int], lead: Sequence[int]) -> None:
        """A sequence of the scope has ended; see `TenantHistory.add`."""
        history = self.tenant(scope).history
        before = len(history)
        history.add(output, lead)
        self._held_tokens += len(history) - before
        while self._held_tokens > self._config.all_history_tokens:
            oldest = next(each for each in self._scopes.values() if len(each.history))
            self._held_tokens -= len(oldest.history)
            oldest.history.clear()

    def forget_owner(self, owner: str | None = None) -> None:
        """Keep nothing of this owner's outputs, or of anyone's; the counts stay."""
        for scope in [each for each in self._scopes if owner in {None, each.owner}]:
            self._forget(scope)

    def forget_counts(self, owner: str) -> None:
        """Begin to count anew for this owner, all of whose sequences have ended."""
        self._counters.pop(owner, None)

    def metrics(self, owner: str | None = None) -> SpeculationMetrics:
        """What became of this owner's drafts, or of all, on every model. Any thread."""
        if owner is not None:
            counter = self._counters.get(owner)
            return SpeculationMetrics() if counter is None else counter.metrics
        total = SpeculationMetrics()
        for counter in list(self._counters.values()):
            total = total.plus(counter.metrics)
        return total

    def _forget(self, scope: PrefixScope) -> None:
        history = self._scopes.pop(scope).history
        self._held_tokens -= len(history)
        history.clear()
