"""Adapters that a request, a handle or a session holds: the versions that their names meant once.

Shared by counting: the versions are given back when the last holder drops them. `when_ready` and
the uses themselves may be touched by any thread; counting is for one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from numbers import Real
from typing import TYPE_CHECKING

from realm.errors import ConfigError, RequestError
from realm.model import PackedAdapter, WeightedAdapter

if TYPE_CHECKING:
    from realm.lora import AdapterUse, LoRAManager
    from realm.runtime.hosted_model import HostedModel

AdapterNames = str | Sequence[str | tuple[str, float]]
_SHOWN_CHARACTERS = 100


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
    Raises AdapterNotFoundError, ConfigError, RequestError for what is no name with a weight; then
    nothing is held.
    """
    pairs = [_read_pair(each) for each in _read_list(names)]
    if not pairs:
        return None
    uses: list[AdapterUse] = []
    weights: list[float] = []
    try:
        for name, weight in pairs:
            uses.append(manager.request(name, base, tenant_id))
            weights.append(weight)
    except BaseException:
        for use in uses:
            use.release()
        raise
    return HeldAdapters(uses, weights)


def _read_list(names: object) -> Sequence[object]:
    if isinstance(names, str):
        return [names]
    if not isinstance(names, Sequence) or isinstance(names, bytes):
        raise RequestError(f"adapters: a name or a list of names, not {_shown(names)}")
    return names


def _read_pair(pair: object) -> tuple[str, float]:
    if isinstance(pair, str):
        return pair, 1.0
    if not isinstance(pair, tuple | list) or len(pair) != 2 or not isinstance(pair[0], str):
        raise RequestError(f"adapters: a name, or a name and a weight, not {_shown(pair)}")
    name, weight = pair
    if not isinstance(weight, Real) or isinstance(weight, bool):
        raise RequestError(f"adapter {name!r}: the weight must be a number, not {_shown(weight)}")
    try:
        number = float(weight)
    except OverflowError:
        number = inf
    if not isfinite(number):
        raise ConfigError(f"adapter {name!r}: the weight must be a finite number")
    return name, number


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


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
