"""Cache memory: which pages are in use, by how many, and which hold known beginnings of texts."""

from realm.memory.pages import PageAllocator
from realm.memory.prefixes import CachedPage, PrefixCache, PrefixKey, PrefixScope, chain_hash

__all__ = [
    "CachedPage",
    "PageAllocator",
    "PrefixCache",
    "PrefixKey",
    "PrefixScope",
    "chain_hash",
]
