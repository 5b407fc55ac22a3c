"""Adapters that a request, a handle or a session holds: the versions that their names meant once.

Shared by counting: the versions are given back when the last holder drops them. `when_ready` and
the uses themselves may be touched by any thread; counting is for one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from realm.errors import ConfigError
from realm.model import PackedAdapter, WeightedAdapter

if TYPE_CHECKING:
    from realm.lora import AdapterUse, LoRAManager
    from realm.runtime.hosted_model import HostedModel

AdapterNames = str | Sequence[str | tuple[str, float]]


class HeldAdapters:
    """Held once when made. weights: one for each of uses, times the adapter's own scale."""

    def __init__(self, uses: Sequence[AdapterUse], weights: Sequence[float]) -> None:
        self._uses = tuple(uses)
        self._weights = tuple(weights)
        self._count = 1

    @property
    def is_ready(self) -> bool:
        """Whether `weighted` answers: all are in memory, or one cannot be loaded."""
        return all(use.ready.done() for use in self._uses)

    def when_ready(self, action: Callable[[], None]) -> None:
        """Calls `action` once, on some thread, when each has been loaded or has failed."""
        waiting = [use for use in self._uses if not use.ready.done()]
        if not waiting:
            action()
            return
        waiting[0].ready.add_done_callback(lambda _: self.when_ready(action))

    def weighted(self) -> tuple[WeightedAdapter, ...]:
        """As the engine takes them. Raises the AdapterError that loading one ended in."""
        found = []
        for use, weight in zip(self._uses, self._weights, strict=True):
            packed = use.packed
            assert isinstance(packed, PackedAdapter)
            found.append(WeightedAdapter(packed, weight))
        return tuple(found)

    def take(self) -> HeldAdapters:
        """One more holder."""
        self._count += 1
        return self

    def drop(self) -> None:
        """One holder less."""
        self._count -= 1
        if self._count == 0:
            for use in self._uses:
                use.release()


def hold_adapters(
    manager: LoRAManager, names: AdapterNames, base: str, tenant_id: str
) -> HeldAdapters | None:
    """What the names mean now to this tenant, on the model of this content; None for no names.

    names: one name, or several in the order in which they are added, each with a weight or 1.
    Raises AdapterNotFoundError, ConfigError; then nothing is held.
    """
    pairs = [names] if isinstance(names, str) else list(names)
    if not pairs:
        return None
    uses: list[AdapterUse] = []
    weights: list[float] = []
    try:
        for pair in pairs:
            name, weight = (pair, 1.0) if isinstance(pair, str) else pair
            if not isfinite(weight):
                raise ConfigError(f"adapter {name!r}: the weight must be a finite number")
            uses.append(manager.request(name, base, tenant_id))
            weights.append(float(weight))
    except BaseException:
        for use in uses:
            use.release()
        raise
    return HeldAdapters(uses, weights)


@dataclass(frozen=True, slots=True)
class RequestAdapters:
    """Adapters as one request's guest reaches them, by its tenant's names.

    model: the request's; own: its adapters, if it has some.
    """

    manager: LoRAManager
    tenant_id: str
    model: HostedModel
    own: HeldAdapters | None

    def default(self, model: HostedModel) -> HeldAdapters | None:
        """The request's own, one more holder; nothing for another model than the request's."""
        if self.own is None or model.stored is not self.model.stored:
            return None
        return self.own.take()

    def hold(self, name: str, model: HostedModel) -> HeldAdapters:
        """What the name means now. Raises AdapterNotFoundError, ConfigError."""
        use = self.manager.request(name, model.stored.content_hash, self.tenant_id)
        return HeldAdapters([use], [1.0])


def weighted(held: HeldAdapters | None) -> tuple[WeightedAdapter, ...]:
    """As the engine takes them; nothing for None. Raises AdapterError."""
    return () if held is None else held.weighted()
