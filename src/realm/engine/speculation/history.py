"""Drafts from what one tenant's sequences put out before.

A history belongs to one tenant and is never shared: whoever could draft from another's outputs
could find them out by the time that a guess takes (Carlini and Nasr, arXiv 2410.17175; Wei et al.,
arXiv 2411.01076).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from realm.kernels import MATCH_TOKENS, TokenIndex

_SEPARATOR = -1  # nothing matches it


class TenantHistory:
    """The recent outputs of one tenant.

    token_limit, entry_limit: when one is passed, the older half is forgotten; 0 keeps nothing.
    index: all of them, a separator behind each.
    """

    __slots__ = ("_entries", "_entry_limit", "_token_limit", "index")

    def __init__(self, token_limit: int = 16384, entry_limit: int = 64) -> None:
        self._token_limit = token_limit
        self._entry_limit = entry_limit
        self._entries: deque[tuple[int, ...]] = deque()
        self.index = TokenIndex()

    def __len__(self) -> int:
        """Tokens that are kept."""
        return len(self.index) - len(self._entries)

    @property
    def entry_count(self) -> int:
        """Outputs that are kept."""
        return len(self._entries)

    def add(self, output: Sequence[int], lead: Sequence[int] = ()) -> None:
        """A sequence has ended with this output.

        lead: the prompt's last tokens, of which MATCH_TOKENS count; with them even the output's
        first token can be found again.
        """
        if not output or not self._token_limit or not self._entry_limit:
            return
        entry = (*lead[-MATCH_TOKENS:], *output)[-self._token_limit :]
        fits = len(self) + len(entry) <= self._token_limit and self.entry_count < self._entry_limit
        self._entries.append(entry)
        if fits:
            self._append(entry)
        else:
            self._forget_older_half()

    def clear(self) -> None:
        """Forget every output."""
        self._entries.clear()
        self.index.clear()

    def _append(self, entry: tuple[int, ...]) -> None:
        self.index.extend((*entry, _SEPARATOR))

    def _forget_older_half(self) -> None:
        entries, tokens = self._entries, sum(map(len, self._entries))
        while len(entries) > 1 and (
            2 * len(entries) > self._entry_limit or 2 * tokens > self._token_limit
        ):
            tokens -= len(entries.popleft())
        self.index.clear()
        for entry in entries:
            self._append(entry)
