"""What a voice is: questions with the answers that its adapter should learn."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """A user's message, and the whole answer."""

    question: str
    answer: str


def words(text: str) -> tuple[str, ...]:
    """What stands between spaces and line ends."""
    return tuple(text.split())


def phrases(text: str) -> tuple[str, ...]:
    """What stands between bars; a line's end is a space."""
    return tuple(" ".join(phrase.split()) for phrase in text.split("|"))
