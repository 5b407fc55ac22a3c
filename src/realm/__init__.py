"""Realm: a multi-tenant runtime for language models.

One copy of a GGUF model serves many tenants; a sandboxed program orchestrates each one's
generation. The names below are the public ones; they load on first use, so that a command that
needs few of them starts quickly.
"""

from __future__ import annotations

from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realm.config import EngineConfig, GenerationOptions, ModelConfig, SamplingParameters
    from realm.engine import TokenLogprobs
    from realm.errors import RealmError
    from realm.lora import LoRAManager
    from realm.model import ModelStorage, StoredModel
    from realm.runtime import (
        GenerationResult,
        GuestLimits,
        RuntimeManager,
        TenantLimits,
        TenantMetrics,
        TenantPolicy,
        TenantRuntime,
        TokenStream,
        Tool,
    )
    from realm.session import InferenceSession, Piece

__all__ = [
    "EngineConfig",
    "GenerationOptions",
    "GenerationResult",
    "GuestLimits",
    "InferenceSession",
    "LoRAManager",
    "ModelConfig",
    "ModelStorage",
    "Piece",
    "RealmError",
    "RuntimeManager",
    "SamplingParameters",
    "StoredModel",
    "TenantLimits",
    "TenantMetrics",
    "TenantPolicy",
    "TenantRuntime",
    "TokenLogprobs",
    "TokenStream",
    "Tool",
]

_HOMES = MappingProxyType(
    {
        "realm.config": (
            "EngineConfig",
            "GenerationOptions",
            "ModelConfig",
            "SamplingParameters",
        ),
        "realm.engine": ("TokenLogprobs",),
        "realm.errors": ("RealmError",),
        "realm.lora": ("LoRAManager",),
        "realm.model": ("ModelStorage", "StoredModel"),
        "realm.runtime": (
            "GenerationResult",
            "GuestLimits",
            "RuntimeManager",
            "TenantLimits",
            "TenantMetrics",
            "TenantPolicy",
            "TenantRuntime",
            "TokenStream",
            "Tool",
        ),
        "realm.session": ("InferenceSession", "Piece"),
    }
)


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'realm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
