"""Find special tokens in text. Never touches the text between them."""

from __future__ import annotations

import re
from collections.abc import Mapping


class SpecialTokens:
    """A set of texts that are one token each wherever they stand; of two, the longer one wins.

    Immutable. Time is linear in the text, times the number of different lengths of the texts
    that begin with the same character.
    """

    __slots__ = ("_first", "_ids", "_lengths")

    def __init__(self, ids: Mapping[str, int]) -> None:
        """ids: text -> id; no text is empty."""
        lengths: dict[str, set[int]] = {}
        for text in ids:
            lengths.setdefault(text[0], set()).add(len(text))
        self._ids = dict(ids)
        self._lengths = {
            first: tuple(sorted(each, reverse=True)) for first, each in lengths.items()
        }
        characters = "".join(map(re.escape, lengths))
        self._first = re.compile(f"[{characters}]") if characters else None

    def partition(self, text: str) -> list[str | int]:
        """The text in order: strings that hold no special token, and the ids between them."""
        if self._first is None:
            return [text] if text else []
        parts: list[str | int] = []
        done = 0
        for match in self._first.finditer(text):
            start = match.start()
            if start < done:
                continue
            for length in self._lengths[text[start]]:
                token_id = self._ids.get(text[start : start + length])
                if token_id is not None:
                    if start > done:
                        parts.append(text[done:start])
                    parts.append(token_id)
                    done = start + length
                    break
        if done < len(text):
            parts.append(text[done:])
        return parts
