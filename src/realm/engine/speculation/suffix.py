"""Drafts from a sequence's own tokens: what followed when its end stood in it before."""

from __future__ import annotations

from collections.abc import Sequence

from realm.engine.speculation.draft import Draft, Source, match_grades
from realm.engine.speculation.token_index import MATCH_TOKENS, Match, TokenIndex


class SuffixDraft:
    """One sequence's tokens, prompt and output, as a source of drafts.

    token_limit: when so many are held, the older half is forgotten.
    """

    __slots__ = ("_forgotten", "_index", "_limit")

    def __init__(self, token_limit: int = 16384) -> None:
        self._limit = max(token_limit, 2 * MATCH_TOKENS)
        self._index = TokenIndex()
        self._forgotten = 0

    def __len__(self) -> int:
        """Tokens of the sequence so far, the forgotten ones included."""
        return self._forgotten + len(self._index)

    def extend(self, token_ids: Sequence[int]) -> None:
        """The sequence got these tokens."""
        index, limit = self._index, self._limit
        room = limit - len(index)
        if len(token_ids) <= room:
            index.extend(token_ids)
            return
        kept = (index.tokens + list(token_ids))[-(limit // 2) :]
        self._forgotten += len(index) + len(token_ids) - len(kept)
        index.clear()
        index.extend(kept)

    def truncate(self, length: int) -> None:
        """The sequence was rewound to so many tokens."""
        self._index.truncate(max(length - self._forgotten, 0))
        self._forgotten = min(self._forgotten, length)

    def tail(self) -> list[int]:
        """The last tokens, as many as a match may have."""
        return self._index.tokens[-MATCH_TOKENS:]

    def match(self) -> Match | None:
        """Where the end of the sequence stood before; the position is one in the kept tokens."""
        return self._index.find(self.tail())

    def copy(self, found: Match, count: int) -> Draft:
        """The `count` (1 at least) tokens behind a match.

        A copy that runs into the end of the sequence goes on with what it has copied, as if the
        text repeated for ever.
        """
        tokens, begin = self._index.tokens, found.position
        copied = tokens[begin : begin + count]
        period = len(tokens) - begin
        while len(copied) < count:
            copied += copied[: min(period, count - len(copied))]
        return Draft(Source.SUFFIX, tuple(copied), match_grades(found.length, count))
