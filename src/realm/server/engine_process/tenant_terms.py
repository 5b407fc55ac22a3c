"""A tenant's definition in the runtime's terms: its policy, and the options of its requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from realm.config import GenerationOptions
from realm.errors import ConfigError
from realm.runtime import GenerationKeywords, GuestLimits, TenantLimits, TenantPolicy
from realm.server.definitions import Limits, Tenant

_PAGE_BYTES = 64 << 10
_DEFAULT_MAX_TOKENS = GenerationOptions().max_tokens
_OPTIONS = frozenset(GenerationKeywords.__annotations__)


def policy_of(tenant: Tenant, programs: Mapping[str, bytes]) -> TenantPolicy:
    """What holds for the tenant's requests. programs: all that it may name.

    Its own program is among these: requests that name none are told to take it.
    """
    return TenantPolicy(
        guest_limits=_guest_limits(tenant.limits),
        limits=_tenant_limits(tenant.limits),
        priority=tenant.priority,
        weight=tenant.weight,
        programs=programs,
    )


def options_of(tenant: Tenant, options: Mapping[str, Any]) -> dict[str, Any]:
    """A request's options within the tenant's limits. Raises ConfigError."""
    for name in options:
        if name not in _OPTIONS:
            raise ConfigError(f"there is no option {name!r}")
    most = tenant.limits.max_tokens
    if most is None:
        return dict(options)
    wanted = options.get("max_tokens")
    if wanted is None:
        return {**options, "max_tokens": min(most, _DEFAULT_MAX_TOKENS)}
    if isinstance(wanted, int) and wanted > most:
        raise ConfigError(f"max_tokens is {wanted}, and the tenant may have {most}")
    return dict(options)


def _guest_limits(limits: Limits) -> GuestLimits | None:
    given: dict[str, Any] = {
        "compute_seconds": limits.compute_seconds,
        "wall_seconds": limits.wall_seconds,
        "output_bytes": limits.output_bytes,
    }
    if limits.memory_bytes is not None:
        given["memory_bytes"] = max(1, limits.memory_bytes // _PAGE_BYTES) * _PAGE_BYTES
    given = {name: value for name, value in given.items() if value is not None}
    return replace(GuestLimits(), **given) if given else None


def _tenant_limits(limits: Limits) -> TenantLimits:
    given = {"requests": limits.concurrent_requests, "cache_bytes": limits.cache_bytes}
    return replace(
        TenantLimits(), **{name: value for name, value in given.items() if value is not None}
    )
