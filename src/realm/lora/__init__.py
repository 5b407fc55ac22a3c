"""Adapters (LoRA): reading and checking them, their identity, and which are in memory.

It fits an adapter to what a base model says of itself. It never touches weights of a base, never
multiplies, and knows nothing of sequences or steps.
"""

from realm.lora.adapter import Adapter, Factor, Projection, Target
from realm.lora.adapter_file import AdapterFile
from realm.lora.base import AdapterBase
from realm.lora.load import load_adapter
from realm.lora.manager import LoRAManager
from realm.lora.use import AdapterStatus, AdapterUse, Packed

__all__ = [
    "Adapter",
    "AdapterBase",
    "AdapterFile",
    "AdapterStatus",
    "AdapterUse",
    "Factor",
    "LoRAManager",
    "Packed",
    "Projection",
    "Target",
    "load_adapter",
]
