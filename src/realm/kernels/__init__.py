"""Typed operations of the native core, the block types, and their NumPy meaning."""

from realm.kernels._native import (
    MATCH_TOKENS,
    PAGE_TOKENS,
    CachePool,
    DraftedSteps,
    FeatureDraft,
    Interrupt,
    Matrix,
    SequenceTexts,
    SideWork,
    StoredFactors,
    Team,
    TokenIndex,
    Transformer,
    can_pack,
    measure_bandwidth,
    measure_products,
    plan_drafts,
    rms_norm,
)
from realm.kernels._native import Adapter as NativeAdapter
from realm.kernels.instruction_set import INSTRUCTION_SETS, instruction_set

__all__ = [
    "INSTRUCTION_SETS",
    "MATCH_TOKENS",
    "PAGE_TOKENS",
    "CachePool",
    "DraftedSteps",
    "FeatureDraft",
    "Interrupt",
    "Matrix",
    "NativeAdapter",
    "SequenceTexts",
    "SideWork",
    "StoredFactors",
    "Team",
    "TokenIndex",
    "Transformer",
    "can_pack",
    "instruction_set",
    "measure_bandwidth",
    "measure_products",
    "plan_drafts",
    "rms_norm",
]
