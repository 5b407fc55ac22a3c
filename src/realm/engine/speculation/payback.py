"""Whether drafts bring what was expected, from whole steps with and without. Reads no clock.

What is planned knows the native call's seconds and chances of tokens. What a draft takes besides,
looking for it, a draft model, the further steps that it prevents, shows only in whole steps.
"""

from __future__ import annotations

_GAIN = 0.1  # how far the seconds of a step without drafts go towards the last one
_KEPT = 0.95  # of what is known of calls with drafts, with each of them
_RESTED = 0.998  # and with each without: half way back after some 350
_WORTH_GAIN = 0.05  # about the last twenty calls count
_PRIOR_STEPS = 4.0  # so many calls with drafts brought what was expected, until more is known
_CALL_STEPS = 4
_MOST_RATIO = 3.0  # a stall of the machine counts as so many steps
_MOST_DEMAND = 1.5


class Payback:
    """Of the steps of one model in which every row decodes.

    worth: tokens a second that drafts bring lately, over those without any, less 1.
    """

    __slots__ = ("_brought", "_instead", "_plain", "worth")

    def __init__(self) -> None:
        self.worth = 0.0
        self._plain: dict[int, float] = {}
        self._brought = 0.0
        self._instead = 0.0

    @property
    def demand(self) -> float:
        """How many times what seems to be enough a draft must bring; 1 at least."""
        ratio = (_PRIOR_STEPS + self._instead) / (_PRIOR_STEPS + self._brought)
        return min(max(ratio, 1.0), _MOST_DEMAND)

    def observe(
        self, answers: int, seconds: float, accepted: float | None = None, steps: int = 1
    ) -> None:
        """The steps of a call gave so many answers each.

        seconds, accepted: of one of them, in the mean; accepted: tokens that were drafted, None
        for steps without drafts. A call of many steps counts as several.
        """
        for _ in range(max(1, steps // _CALL_STEPS)):
            self._observe(answers, seconds, accepted)

    def _observe(self, answers: int, seconds: float, accepted: float | None) -> None:
        if seconds <= 0.0:
            return  # a clock that stands still tells nothing
        plain = self._plain.get(answers, 0.0)
        gain = 0.0
        if accepted is None:
            seconds = min(seconds, _MOST_RATIO * plain) if plain else seconds
            self._plain[answers] = plain + _GAIN * (seconds - plain) if plain else seconds
            self._brought *= _RESTED
            self._instead *= _RESTED
        elif plain:
            tokens, steps = 1.0 + accepted / answers, min(seconds / plain, _MOST_RATIO)
            self._brought = _KEPT * self._brought + tokens
            self._instead = _KEPT * self._instead + steps
            gain = tokens / steps - 1.0
        self.worth += _WORTH_GAIN * (gain - self.worth)
