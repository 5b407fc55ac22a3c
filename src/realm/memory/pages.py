"""Page numbers with reference counts: bookkeeping only, no bytes.

A page with several references is never written; who wants to write takes a copy first.
"""

from __future__ import annotations

from realm.errors import CapacityError


class PageAllocator:
    """Hands out page numbers 0..page_count-1, the lowest free ones first."""

    __slots__ = ("_free", "_references")

    def __init__(self, page_count: int) -> None:
        self._references = [0] * page_count
        self._free = list(range(page_count - 1, -1, -1))

    @property
    def free_count(self) -> int:
        """Pages that nobody holds."""
        return len(self._free)

    def allocate(self) -> int:
        """A page with one reference. Raises CapacityError when none is free."""
        if not self._free:
            raise CapacityError(f"all {len(self._references)} cache pages are in use")
        page = self._free.pop()
        self._references[page] = 1
        return page

    def share(self, page: int) -> None:
        """One more reference to a page in use."""
        self._references[page] += 1

    def is_shared(self, page: int) -> bool:
        """Whether the page has more than one reference."""
        return self._references[page] > 1

    def references(self, page: int) -> int:
        """How many references the page has; 0 when it is free."""
        return self._references[page]

    def release(self, page: int) -> bool:
        """One reference less; True when it was the last and the page is free again."""
        self._references[page] -= 1
        if self._references[page]:
            return False
        self._free.append(page)
        return True
