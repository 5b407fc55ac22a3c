"""Cache memory: which pages are in use and by how many."""

from realm.memory.pages import PageAllocator

__all__ = ["PageAllocator"]
