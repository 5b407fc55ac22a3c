"""The cache of one model: pages, their table, and copies on write."""

from __future__ import annotations

import numpy as np

from realm.engine.sequence import Sequence
from realm.errors import CapacityError
from realm.kernels import PAGE_TOKENS, CachePool
from realm.memory import PageAllocator
from realm.model import StoredModel

_FIRST_ROWS = 16


class ModelCache:
    """Cache pages of every sequence of one model.

    cache_bytes: address space for pages. context_length: most tokens of a sequence.
    """

    __slots__ = ("_allocator", "_free_rows", "context_length", "pool", "table")

    def __init__(self, model: StoredModel, cache_bytes: int, context_length: int) -> None:
        page_count = cache_bytes // model.native.page_bytes
        if page_count < 1:
            raise CapacityError(
                f"{cache_bytes} bytes do not hold one cache page of {model.native.page_bytes}"
            )
        limit = model.hyperparameters.context_length
        self.context_length = min(context_length or limit, limit)
        self.pool = CachePool(model.native, page_count)
        self._allocator = PageAllocator(page_count)
        columns = -(-self.context_length // PAGE_TOKENS)
        self.table = np.full((_FIRST_ROWS, columns), -1, np.int32)
        self._free_rows = list(range(_FIRST_ROWS - 1, -1, -1))

    @property
    def free_page_count(self) -> int:
        """Pages that no sequence holds."""
        return self._allocator.free_count

    def take_row(self) -> int:
        """A row of the page table for a new sequence."""
        if not self._free_rows:
            rows, columns = self.table.shape
            self.table = np.concatenate([self.table, np.full((rows, columns), -1, np.int32)])
            self._free_rows = list(range(2 * rows - 1, rows - 1, -1))
        return self._free_rows.pop()

    def make_writable(self, sequence: Sequence, begin: int, end: int) -> None:
        """Pages of its own for the sequence's positions begin..end-1, copied where shared.

        Raises CapacityError; then nothing has changed.
        """
        pages = sequence.pages
        first, last = begin // PAGE_TOKENS, (end - 1) // PAGE_TOKENS
        copied = [
            index
            for index in range(first, min(last + 1, len(pages)))
            if self._allocator.is_shared(pages[index])
        ]
        needed = len(copied) + max(0, last + 1 - len(pages))
        if needed > self._allocator.free_count:
            raise CapacityError(
                f"{needed} more cache pages are needed, {self._allocator.free_count} are free"
            )
        for index in copied:
            page = self._allocator.allocate()
            self.pool.copy(pages[index], page)
            self._allocator.release(pages[index])
            pages[index] = page
            self.table[sequence.table_row, index] = page
        while len(pages) <= last:
            pages.append(self._allocator.allocate())
            self.table[sequence.table_row, len(pages) - 1] = pages[-1]

    def share(self, source: Sequence, target: Sequence, tokens: int) -> None:
        """Give `target` the pages of the first `tokens` positions of `source`."""
        target.pages = source.pages[: -(-tokens // PAGE_TOKENS)]
        for index, page in enumerate(target.pages):
            self._allocator.share(page)
            self.table[target.table_row, index] = page

    def truncate(self, sequence: Sequence, tokens: int) -> None:
        """Drop the pages past the first `tokens` positions."""
        kept = -(-tokens // PAGE_TOKENS)
        for page in sequence.pages[kept:]:
            if self._allocator.release(page):
                self.pool.release(page)
        del sequence.pages[kept:]

    def drop(self, sequence: Sequence) -> None:
        """Drop every page and the row of the table."""
        self.truncate(sequence, 0)
        self.table[sequence.table_row] = -1
        self._free_rows.append(sequence.table_row)
