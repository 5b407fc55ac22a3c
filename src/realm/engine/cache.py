"""The cache of one model: pages, their table, copies on write, and pages kept for later.

It never decides who must give pages up: `claim` says no, and the caller makes room.
"""

from __future__ import annotations

import numpy as np

from realm.engine.sequence import Sequence
from realm.errors import CapacityError
from realm.kernels import PAGE_TOKENS, CachePool
from realm.memory import CachedPage, PageAllocator, PrefixCache, PrefixKey, PrefixScope, chain_hash

_FIRST_ROWS = 16


def prefix_scope(content_hash: str, sequence: Sequence) -> PrefixScope:
    """Within what the pages of a sequence on a model may be shared."""
    adapters = tuple(each.key for each in sequence.adapters)
    return PrefixScope(content_hash, sequence.owner, adapters)


class ModelCache:
    """Cache pages of every sequence of one model.

    content_hash: the model's. pool: where the pages are. context_length: most tokens of a sequence.
    keeps_prefixes: whether full pages stay for texts of the same owner that begin alike.
    """

    __slots__ = (
        "_allocator",
        "_content_hash",
        "_free_rows",
        "_keeps_prefixes",
        "_prefixes",
        "context_length",
        "page_count",
        "pool",
        "table",
    )

    def __init__(
        self, content_hash: str, pool: CachePool, context_length: int, *, keeps_prefixes: bool
    ) -> None:
        self.page_count = pool.page_count
        self.context_length = context_length
        self.pool = pool
        self._content_hash = content_hash
        self._allocator = PageAllocator(self.page_count)
        self._prefixes = PrefixCache()
        self._keeps_prefixes = keeps_prefixes
        columns = _pages_of(context_length)
        self.table = np.full((_FIRST_ROWS, columns), -1, np.int32)
        self._free_rows = list(range(_FIRST_ROWS - 1, -1, -1))

    @property
    def free_page_count(self) -> int:
        """Pages that no sequence holds, those kept for later among them."""
        return self._allocator.free_count + self._prefixes.idle_count

    @property
    def kept_page_count(self) -> int:
        """Pages that no sequence holds and that are kept for later."""
        return self._prefixes.idle_count

    @property
    def prefix_hit_count(self) -> int:
        """Pages that did not have to be computed."""
        return self._prefixes.hit_count

    def take_row(self) -> int:
        """A row of the page table for a new sequence."""
        if not self._free_rows:
            rows, columns = self.table.shape
            self.table = np.concatenate([self.table, np.full((rows, columns), -1, np.int32)])
            self._free_rows = list(range(2 * rows - 1, rows - 1, -1))
        return self._free_rows.pop()

    # ---- Pages for the tokens that are to be computed ----

    def covers(self, sequence: Sequence) -> bool:
        """Whether its pages take every pending token and none of those is shared."""
        pages = sequence.pages
        first = sequence.computed // PAGE_TOKENS
        if len(sequence.tokens) > len(pages) * PAGE_TOKENS:
            return False
        # Only the first page that is written can be shared: those after it were never full.
        return not self._allocator.is_shared(pages[first])

    def needed_pages(self, sequence: Sequence) -> int:
        """How many of the free pages `claim` would take; kept ones that it would use count too."""
        if sequence.pages:
            first, count = sequence.computed // PAGE_TOKENS, len(sequence.pages)
            return self._needed(sequence, first, max(count, _pages_of(len(sequence.tokens))))
        found = self._find_prefix(sequence)
        idle = sum(self._prefixes.is_idle(each.page) for each in found)
        return _pages_of(len(sequence.tokens)) - len(found) + idle

    def claim(self, sequence: Sequence) -> bool:
        """Give it pages for all of its tokens; False, and nothing has changed, without room.

        A sequence without pages takes over those of its beginning that are known; `computed` says
        how far they reach.
        """
        if self.needed_pages(sequence) > self.free_page_count:
            return False
        if not sequence.pages:
            for each in self._find_prefix(sequence):
                self._hold(sequence, each.page)
            sequence.computed = len(sequence.pages) * PAGE_TOKENS
            self._prefixes.hit_count += len(sequence.pages)
        self.make_writable(sequence, sequence.computed, len(sequence.tokens))
        return True

    def make_writable(self, sequence: Sequence, begin: int, end: int) -> None:
        """Pages of its own for the sequence's positions begin..end-1, copied where shared.

        Raises CapacityError; then nothing has changed.
        """
        pages = sequence.pages
        first, last = begin // PAGE_TOKENS, (end - 1) // PAGE_TOKENS
        needed = self._needed(sequence, first, last + 1)
        if needed > self.free_page_count:
            raise CapacityError(
                f"{needed} more cache pages are needed, {self.free_page_count} are free"
            )
        for index in range(first, min(last + 1, len(pages))):
            if self._allocator.is_shared(pages[index]):
                page = self._take()
                self.pool.copy(pages[index], page)
                self._release(pages[index])
                pages[index] = page
                self.table[sequence.table_row, index] = page
        while len(pages) <= last:
            pages.append(self._take())
            self.table[sequence.table_row, len(pages) - 1] = pages[-1]

    def reserve(self, sequence: Sequence, end: int) -> bool:
        """Pages for the positions before `end`, past its tokens; False when too few are free."""
        first, last = sequence.computed // PAGE_TOKENS, _pages_of(end)
        if self._needed(sequence, first, last) > self.free_page_count:
            return False
        self.make_writable(sequence, sequence.computed, end)
        return True

    def exclusive_pages(self, sequence: Sequence) -> int:
        """How many pages would be free if it dropped its own."""
        kept = self._prefixes
        return sum(
            self._allocator.references(page) == (2 if page in kept else 1)
            for page in sequence.pages
        )

    # ---- Sharing and dropping ----

    def share(self, source: Sequence, target: Sequence, tokens: int) -> None:
        """Give `target` the pages of the first `tokens` positions of `source`."""
        for page in source.pages[: _pages_of(tokens)]:
            self._hold(target, page)
        target.chain = source.chain[: tokens // PAGE_TOKENS]

    def keep(self, sequence: Sequence, begin: int, end: int) -> None:
        """Make the pages known that the tokens begin..end-1, just computed, have filled."""
        if not self._keeps_prefixes or begin // PAGE_TOKENS == end // PAGE_TOKENS:
            return
        scope = prefix_scope(self._content_hash, sequence)
        first, filled = begin // PAGE_TOKENS, end // PAGE_TOKENS
        chain = self._chain(sequence, filled)
        before = self._prefixes.entry(sequence.pages[first - 1]) if first else None
        if first and before is None:
            return
        for index in range(first, filled):
            key, tokens = PrefixKey(scope, chain[index]), _tokens_of(sequence, index)
            page = sequence.pages[index]
            found = self._prefixes.find(key, before, tokens)
            if found is None:
                if not self._prefixes.add(key, before, tokens, page):
                    return
                self._allocator.share(page)
            elif found.page != page:
                # Another sequence computed the same page: one of the two is enough.
                self._allocator.share(found.page)
                self._prefixes.use(found.page)
                self._release(page)
                sequence.pages[index] = found.page
                self.table[sequence.table_row, index] = found.page
            before = self._prefixes.entry(sequence.pages[index])

    def truncate(self, sequence: Sequence, tokens: int) -> None:
        """Drop the pages past the first `tokens` positions."""
        kept = _pages_of(tokens)
        # The last first: of the pages kept for later, the ends of texts are evicted first.
        for page in reversed(sequence.pages[kept:]):
            self._release(page)
        del sequence.pages[kept:]

    def drop(self, sequence: Sequence) -> None:
        """Drop every page and the row of the table."""
        self.truncate(sequence, 0)
        self.table[sequence.table_row] = -1
        self._free_rows.append(sequence.table_row)

    def forget_prefixes(self, owner: str | None = None) -> None:
        """Keep no page of this owner, or of anyone, for later; sequences keep theirs."""
        for page in self._prefixes.pages_of(owner):
            self._prefixes.forget(page)
            if self._allocator.release(page):
                self.pool.release(page)

    # ---- Inside ----

    def _needed(self, sequence: Sequence, first: int, end: int) -> int:
        pages = sequence.pages
        shared = sum(
            self._allocator.is_shared(pages[index]) for index in range(first, min(end, len(pages)))
        )
        return shared + max(0, end - len(pages))

    def _hold(self, sequence: Sequence, page: int) -> None:
        self._allocator.share(page)
        self._prefixes.use(page)
        sequence.pages.append(page)
        self.table[sequence.table_row, len(sequence.pages) - 1] = page

    def _take(self) -> int:
        if not self._allocator.free_count:
            page = self._prefixes.evict()
            if page is not None and self._allocator.release(page):
                self.pool.release(page)
        return self._allocator.allocate()

    def _release(self, page: int) -> None:
        if self._allocator.release(page):
            self.pool.release(page)
        elif page in self._prefixes and self._allocator.references(page) == 1:
            self._prefixes.rest(page)

    def _find_prefix(self, sequence: Sequence) -> list[CachedPage]:
        """Known pages of its beginning; the last token is never among them: it gives the answer."""
        found: list[CachedPage] = []
        if not self._keeps_prefixes:
            return found
        count = (len(sequence.tokens) - 1) // PAGE_TOKENS
        if not count:
            return found
        scope = prefix_scope(self._content_hash, sequence)
        before: CachedPage | None = None
        for index, chain in enumerate(self._chain(sequence, count)[:count]):
            before = self._prefixes.find(
                PrefixKey(scope, chain), before, _tokens_of(sequence, index)
            )
            if before is None:
                break
            found.append(before)
        return found

    @staticmethod
    def _chain(sequence: Sequence, pages: int) -> list[bytes]:
        chain = sequence.chain
        while len(chain) < pages:
            tokens = _tokens_of(sequence, len(chain))
            chain.append(chain_hash(chain[-1] if chain else b"", tokens))
        return chain


def _pages_of(tokens: int) -> int:
    return -(-tokens // PAGE_TOKENS)


def _tokens_of(sequence: Sequence, page: int) -> tuple[int, ...]:
    return tuple(sequence.tokens[page * PAGE_TOKENS : (page + 1) * PAGE_TOKENS])
