"""Tenants' programs and requests: RuntimeManager, TenantRuntime, guests, host functions."""

from realm.runtime.account import TenantMetrics
from realm.runtime.limits import GuestLimits, HostLimits, TenantLimits
from realm.runtime.manager import RuntimeManager
from realm.runtime.options import GenerationKeywords
from realm.runtime.policy import TenantPolicy, Tool
from realm.runtime.result import GenerationResult
from realm.runtime.stream import TokenStream
from realm.runtime.tenant import TenantRuntime
from realm.runtime.timings import Timings

__all__ = [
    "GenerationKeywords",
    "GenerationResult",
    "GuestLimits",
    "HostLimits",
    "RuntimeManager",
    "TenantLimits",
    "TenantMetrics",
    "TenantPolicy",
    "TenantRuntime",
    "Timings",
    "TokenStream",
    "Tool",
]
