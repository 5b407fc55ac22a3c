"""Texts that an engine goes on with, as a program that samples in a loop does."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Items

from realm.config import SamplingParameters
from realm.engine import Engine
from realm.engine.sequence import Sequence
from realm.model import DraftModel, StoredModel, WeightedAdapter

PROMPT = list(range(40, 72))
GREEDY = SamplingParameters(temperature=0.0)


def draw_each(engine: Engine, numbers: Iterable[int]) -> None:
    """One greedy token for each of these sequences."""
    waiting = set(numbers)
    for number in waiting:
        engine.sample(number, GREEDY, more=20)
    while waiting:
        for output in engine.step():
            assert output.error is None
            waiting.discard(output.sequence)


class Decoding:
    """Texts that one engine goes on with, until each has so many tokens."""

    def __init__(self, engine: Engine, model: StoredModel, draft: DraftModel | None = None) -> None:
        self.engine = engine
        self.model = model
        self.draft = draft
        self.calls = 0
        self.tokens: dict[int, list[int]] = {}
        self.policies: dict[int, SamplingParameters] = {}

    def begin(
        self,
        policy: SamplingParameters = GREEDY,
        prompt: Items[int] = PROMPT,
        adapters: Items[WeightedAdapter] = (),
        owner: str = "a",
    ) -> int:
        number = self.engine.open(self.model, owner, adapters=adapters, draft=self.draft)
        self.engine.append(number, prompt)
        self.tokens[number] = []
        self.policies[number] = policy
        return number

    def run(self, count: int) -> list[list[int]]:
        """Asks for so many tokens of each, and says so."""
        for number in self.tokens:
            self.engine.sample(number, self.policies[number], more=count - 1)
        while any(len(each) < count for each in self.tokens.values()):
            before = self.engine.step_count
            outputs = self.engine.step()
            self.calls += self.engine.step_count > before
            for output in outputs:
                assert output.error is None
                mine = self.tokens[output.sequence]
                mine += output.token_ids
                if len(mine) < count:
                    more = count - len(mine) - 1
                    self.engine.sample(output.sequence, self.policies[output.sequence], more=more)
        return list(self.tokens.values())

    def end(self, number: int) -> None:
        """The text is complete; it counts no more."""
        self.engine.close(number)
        del self.tokens[number], self.policies[number]

    def sequence(self, number: int) -> Sequence:
        return self.engine._find(number)[1]
