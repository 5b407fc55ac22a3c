"""Stop texts in a stream: what may go out, and where the output ends."""

from __future__ import annotations


class StopMatcher:
    """Holds back text that may be the beginning of a stop text.

    stop: the texts that end the output; none of them is ever given out.
    """

    __slots__ = ("_held", "_stop", "matched")

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = stop
        self._held = ""
        self.matched = False

    def push(self, text: str) -> str:
        """The text that is safe to give out now. After a match it is what stood before it."""
        if self.matched:
            return ""
        if not self._stop:
            return text
        held = self._held + text
        ends = [at for at in (held.find(each) for each in self._stop) if at >= 0]
        if ends:
            self.matched = True
            self._held = ""
            return held[: min(ends)]
        keep = max(_overlap(held, each) for each in self._stop)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep]

    def finish(self) -> str:
        """What was held back and turned out not to be a stop text."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that `stop` begins with."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
