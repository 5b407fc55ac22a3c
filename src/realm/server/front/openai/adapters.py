"""Which model and which adapters a request means."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from realm.errors import AdapterNotFoundError, FieldError
from realm.server.definitions import Tenant
from realm.server.front.openai.requests import RealmOptions

if TYPE_CHECKING:
    from realm.server.front.directory import Directory

Weighted = list[tuple[str, float]]
_MOST_ADAPTERS = 16
_LARGEST_WEIGHT = 1000.0


def resolve(
    directory: Directory, tenant: Tenant, name: str, own: RealmOptions | None
) -> tuple[str, Weighted | None]:
    """The model's name, and the adapters with weights; None for those takes the tenant's own.

    name: `model` or `model:adapter`. Raises ModelNotFoundError, AdapterNotFoundError, FieldError.
    """
    choice = directory.resolve_model(tenant, name)
    adapters: Weighted | None = None if choice.adapter is None else [(choice.adapter, 1.0)]
    if own is None:
        return choice.model.name, adapters
    if own.adapter is not None:
        if choice.adapter is not None:
            raise FieldError("realm.adapter: model names an adapter too", "realm.adapter")
        adapters = _weighted(own)
        for adapter, _ in adapters:
            if ":" in adapter:
                raise AdapterNotFoundError(f"there is no adapter {adapter!r}")
            directory.resolve_model(tenant, f"{choice.model.name}:{adapter}")
    if own.scale is not None:
        if adapters is None and tenant.adapter is not None:
            adapters = [(tenant.adapter, 1.0)]
        if not adapters:
            raise FieldError("realm.scale: there is no adapter to scale", "realm.scale")
        adapters = [(adapter, weight * own.scale) for adapter, weight in adapters]
    return choice.model.name, adapters


def _weighted(own: RealmOptions) -> Weighted:
    given = own.adapter
    if isinstance(given, str):
        return [(given, 1.0)]
    assert given is not None
    if len(given) > _MOST_ADAPTERS:
        raise FieldError(f"realm.adapter: more than {_MOST_ADAPTERS}", "realm.adapter")
    return [_pair(each, f"realm.adapter[{place}]") for place, each in enumerate(given)]


def _pair(given: str | list[str | float], place: str) -> tuple[str, float]:
    if isinstance(given, str):
        return given, 1.0
    match given:
        case [str() as name, int() | float() as weight] if math.isfinite(weight):
            if abs(weight) <= _LARGEST_WEIGHT:
                return name, float(weight)
    raise FieldError(f"{place}: is neither a name nor [name, weight]", place)
