"""How much of the engine each owner has had, so that the one with the least comes first.

Virtual tokens as in "Fairness in Serving Large Language Models" (Sheng et al., OSDI 2024): rows
computed for an owner, by kind, over the owner's weight. An owner that was away is lifted to the
least of those that were active meanwhile, so that nobody saves up by idling; who is away for
moments only, between two requests, keeps what others owe it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from realm.engine.scheduler import StepCost

_SPARE_ACCOUNTS = 256
_DELAY_PRICE = 2.5  # of a second that prompts took from those who decode, in seconds of decoding
_WINDOW = 64  # steps
_MOST_STALL = 2.0  # a step counts at most so many times as long as expected


class OwnerLedger:
    """Virtual tokens of every owner.

    decode_cost: what one decode row costs, in prompt rows.
    """

    __slots__ = (
        "_decode_cost",
        "_floor",
        "_least",
        "_steps",
        "_virtual",
        "_weights",
        "_window_least",
        "virtual",
        "weights",
    )

    def __init__(self, decode_cost: float = 2.0) -> None:
        self._decode_cost = decode_cost
        self._floor = 0.0  # the least of the window before this one
        self._window_least = math.inf
        self._least = 0.0
        self._steps = 0
        self._virtual: dict[str, float] = {}
        self._weights: dict[str, float] = {}
        self.virtual: Mapping[str, float] = MappingProxyType(self._virtual)
        self.weights: Mapping[str, float] = MappingProxyType(self._weights)

    def set_weight(self, owner: str, weight: float) -> None:
        """An owner's share against others; 1 unless set."""
        self._weights[owner] = weight

    def arrive(self, owner: str) -> None:
        """The owner asks for something; needless but harmless while it is active."""
        had = self._virtual.get(owner)
        if had is None:
            self._virtual[owner] = self._least
        elif had < self._floor:
            self._virtual[owner] = self._floor

    def charge(self, owner: str, rows: float, *, decoding: bool) -> None:
        """Rows were computed for the owner."""
        cost = rows * self._decode_cost if decoding else rows
        self._virtual[owner] += cost / self._weights.get(owner, 1.0)

    def prompt_price(
        self, decoding: int, prompt_rows: int, answers: int, seconds: float, cost: StepCost
    ) -> float:
        """What a prompt row of a step costs, in those of a step without decode rows: 1 at least.

        Beside decode rows a row costs what it takes of the time: short pieces, and pieces far into
        a text, take more of it than rows of a long prompt. seconds: of the step. cost: expected.
        """
        decode_seconds = cost.seconds(decoding, decoding)
        if not decoding or not prompt_rows or decode_seconds <= 0.0:
            return 1.0
        expected = cost.seconds(decoding + prompt_rows, answers)
        delay = min(seconds, _MOST_STALL * expected) - decode_seconds
        second = decoding * self._decode_cost / decode_seconds
        return max(1.0, _DELAY_PRICE * second * delay / prompt_rows)

    def settle(self, active: set[str]) -> None:
        """Once a step: the owners that have or want rows now."""
        if active:
            self._least = min(self._virtual[owner] for owner in active)
            self._window_least = min(self._window_least, self._least)
            self._steps += 1
            if self._steps % _WINDOW == 0:
                self._floor = max(self._floor, self._window_least)
                self._window_least = self._least
        if len(self._virtual) > _SPARE_ACCOUNTS + 2 * len(active):
            self._forget_idle(active)

    def _forget_idle(self, active: set[str]) -> None:
        # Of those that are away, only who is above the floor would not begin at the floor again.
        floor = self._floor
        kept = {o: v for o, v in self._virtual.items() if v > floor or o in active}
        self._virtual.clear()
        self._virtual.update(kept)
