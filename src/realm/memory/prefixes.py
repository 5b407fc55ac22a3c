"""Full cache pages by what they hold, so that a text that begins alike need not be computed again.

Bookkeeping only: it holds page numbers, never bytes, and counts no references. A page is found by
everything that its bytes depend on and by whose it is. Owners never share: no scope is public.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

_HASH_BYTES = 16


@dataclass(frozen=True, slots=True)
class PrefixScope:
    """Within what pages may be shared: one model, the same adapters at the same weights, one owner.

    model: content hash. owner: the salt that keeps tenants apart. adapters: content hashes, never
    names, each with its weight.
    """

    model: str
    owner: str
    adapters: tuple[tuple[bytes, float], ...] = ()


@dataclass(frozen=True, slots=True)
class PrefixKey:
    """Where a page is looked for. chain: `chain_hash` of every token up to the page's last."""

    scope: PrefixScope
    chain: bytes


@dataclass(slots=True, eq=False)
class CachedPage:
    """A full page: its key, its tokens, and the page before it (None: it begins the text)."""

    key: PrefixKey
    before: CachedPage | None
    tokens: tuple[int, ...]
    page: int


def chain_hash(before: bytes, tokens: Sequence[int]) -> bytes:
    """Hash of a text whose beginning hashes to `before` (b"": none) and goes on with `tokens`."""
    return hashlib.blake2b(before + array("i", tokens).tobytes(), digest_size=_HASH_BYTES).digest()


class PrefixCache:
    """Which pages hold what. Its pages are in use, or idle: evictable, the oldest first.

    A hash only says where to look: tokens are compared, page by page from the first, so two texts
    of one hash are not taken for each other.
    """

    __slots__ = ("_by_key", "_by_page", "_idle", "hit_count")

    def __init__(self) -> None:
        self._by_key: dict[PrefixKey, CachedPage] = {}
        self._by_page: dict[int, CachedPage] = {}
        self._idle: dict[int, None] = {}
        self.hit_count = 0

    @property
    def idle_count(self) -> int:
        """Pages that no sequence holds."""
        return len(self._idle)

    def __contains__(self, page: int) -> bool:
        return page in self._by_page

    def is_idle(self, page: int) -> bool:
        """Whether the page is known and no sequence holds it."""
        return page in self._idle

    def entry(self, page: int) -> CachedPage | None:
        """What is known of a page."""
        return self._by_page.get(page)

    def find(
        self, key: PrefixKey, before: CachedPage | None, tokens: tuple[int, ...]
    ) -> CachedPage | None:
        """The page with these tokens after those of `before`; None when there is none."""
        found = self._by_key.get(key)
        if found is None or found.before is not before or found.tokens != tokens:
            return None
        return found

    def add(
        self, key: PrefixKey, before: CachedPage | None, tokens: tuple[int, ...], page: int
    ) -> bool:
        """Make a page in use known; False when a text of the same hash has its place."""
        if key in self._by_key:
            return False
        self._by_key[key] = self._by_page[page] = CachedPage(key, before, tokens, page)
        return True

    def use(self, page: int) -> None:
        """A sequence holds the page (again)."""
        self._idle.pop(page, None)

    def rest(self, page: int) -> None:
        """No sequence holds the page any more; it is the last to be evicted."""
        self._idle[page] = None

    def evict(self) -> int | None:
        """Forget the page that has been idle longest; its number, None when no page is idle."""
        if not self._idle:
            return None
        page = next(iter(self._idle))
        self.forget(page)
        return page

    def forget(self, page: int) -> None:
        """Forget one page, idle or not."""
        entry = self._by_page.pop(page)
        del self._by_key[entry.key]
        self._idle.pop(page, None)

    def pages_of(self, owner: str | None = None) -> list[int]:
        """Every known page of an owner, or of all."""
        return [
            page
            for page, entry in self._by_page.items()
            if owner is None or entry.key.scope.owner == owner
        ]
