"""Typed operations of the native core, the block types, and their NumPy meaning."""

from realm.kernels._native import (
    PAGE_TOKENS,
    CachePool,
    DraftedSteps,
    Interrupt,
    Matrix,
    SideWork,
    StoredFactors,
    Team,
    Transformer,
    can_pack,
    measure_bandwidth,
    measure_products,
    rms_norm,
)
from realm.kernels._native import Adapter as NativeAdapter
from realm.kernels.instruction_set import INSTRUCTION_SETS, instruction_set

__all__ = [
    "INSTRUCTION_SETS",
    "PAGE_TOKENS",
    "CachePool",
    "DraftedSteps",
    "Interrupt",
    "Matrix",
    "NativeAdapter",
    "SideWork",
    "StoredFactors",
    "Team",
    "Transformer",
    "can_pack",
    "instruction_set",
    "measure_bandwidth",
    "measure_products",
    "rms_norm",
]
