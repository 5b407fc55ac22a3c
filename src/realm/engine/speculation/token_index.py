"""Where in a text the tokens at the end of a text stood before: the longest such match.

Chains of equal pairs in hash tables, as compressors of the Lempel-Ziv family find their matches
(Deutsch, RFC 1951, section 4), and beside them the latest place of each single token. A suffix
automaton would find the same in a constant time a token, but cannot forget its newest tokens;
against it, looking at the 8 latest places of a pair and at 16 tokens before each loses nothing
measurable on the texts in `src/realm/cli/texts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

MATCH_TOKENS = 16  # longer matches are not told apart
_PLACES = 8  # of one pair that are looked at, the latest first
_NOWHERE = -1


class Match(NamedTuple):
    """position: of the token after the match. length: tokens that match before it, 1 at least."""

    position: int
    length: int


class TokenIndex:
    """A text that grows and shrinks at its end, with all the places where a token or pair stands.

    Some 200 bytes a token. Token ids are 0 or more and below 2**31; the text may contain
    `SEPARATOR`, which nothing matches.
    """

    __slots__ = ("_pairs", "_pairs_before", "_singles", "_singles_before", "tokens")

    SEPARATOR = -1

    def __init__(self) -> None:
        self.tokens: list[int] = []
        # The position behind the latest place of a token or of a pair; and for each position, the
        # one behind the place before of the same token or pair.
        self._singles: dict[int, int] = {}
        self._pairs: dict[int, int] = {}
        self._singles_before: list[int] = []
        self._pairs_before: list[int] = []

    def __len__(self) -> int:
        return len(self.tokens)

    def extend(self, token_ids: Sequence[int]) -> None:
        """Add tokens at the end: about half a microsecond each, in bulk half of that."""
        tokens, singles, pairs = self.tokens, self._singles, self._pairs
        singles_before, pairs_before = self._singles_before, self._pairs_before
        last = tokens[-1] if tokens else self.SEPARATOR
        position = len(tokens)
        for token in token_ids:
            position += 1
            pair = last << 32 | token
            singles_before.append(singles.get(token, _NOWHERE))
            pairs_before.append(pairs.get(pair, _NOWHERE))
            singles[token] = pairs[pair] = position
            last = token
        tokens += token_ids

    def truncate(self, length: int) -> None:
        """Forget every token from position `length` on. About as long as adding them took."""
        tokens, singles, pairs = self.tokens, self._singles, self._pairs
        while len(tokens) > length:
            token = tokens.pop()
            last = tokens[-1] if tokens else self.SEPARATOR
            _restore(singles, token, self._singles_before.pop())
            _restore(pairs, last << 32 | token, self._pairs_before.pop())

    def clear(self) -> None:
        """Forget everything."""
        self.tokens.clear()
        self._singles.clear()
        self._pairs.clear()
        self._singles_before.clear()
        self._pairs_before.clear()

    def find(self, tail: Sequence[int]) -> Match | None:
        """Where the end of `tail` stands in the text with a token behind it, the longest match.

        tail: the last tokens of a text, of this one or of another; MATCH_TOKENS of them are enough.
        Among the latest places of its last pair the longest match wins, then the latest. None when
        not even its last token is found.
        """
        if not tail:
            return None
        tokens, end, depth = self.tokens, len(self.tokens), min(len(tail), MATCH_TOKENS)
        position = best_position = best = 0
        if depth > 1:
            before = self._pairs_before
            position = self._pairs.get(tail[-2] << 32 | tail[-1], _NOWHERE)
            if position == end:  # nothing stands behind it: it is the tail itself
                position = before[end - 1]
            for _ in range(_PLACES):
                if position < 0:
                    break
                most = min(depth, position)
                # Only one that also matches where the best so far ends can be longer.
                if best < most and (not best or tokens[position - 1 - best] == tail[-1 - best]):
                    length = 2
                    while length < most and tokens[position - 1 - length] == tail[-1 - length]:
                        length += 1
                    if length > best:
                        best_position, best = position, length
                        if length == depth:
                            break
                position = before[position - 1]
            if best:
                return Match(best_position, best)
        position = self._singles.get(tail[-1], _NOWHERE)
        if position == end and end:
            position = self._singles_before[end - 1]
        return None if position < 0 else Match(position, 1)


def _restore(places: dict[int, int], key: int, before: int) -> None:
    if before < 0:
        del places[key]
    else:
        places[key] = before
