"""Replays thousands of sessions against the real bookkeeping, with a cost model instead of a model.

Pages are told apart by what was written into them: every cell holds the hash of the text up to its
position, so a page that is stale, shared wrongly or lost is seen when the sequence is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from realm.config import EngineConfig, SamplingParameters
from realm.engine.cache import ModelCache
from realm.engine.fairness import OwnerLedger
from realm.engine.model_state import ModelState
from realm.engine.scheduler import StepCost, StepLimits, plan_step, prompt_budget
from realm.engine.sequence import Sequence
from realm.engine.step_cost import StepCostEstimate
from realm.kernels import PAGE_TOKENS

GREEDY = SamplingParameters(temperature=0.0)
COST = StepCost(0.002, 0.0003)


class FakePool:
    """Pages of hashes instead of keys and values."""

    def __init__(self, page_count: int) -> None:
        self.page_count = page_count
        self.cells: list[list[int | None]] = [[None] * PAGE_TOKENS for _ in range(page_count)]

    def release(self, page: int) -> None:
        self.cells[page] = [None] * PAGE_TOKENS

    def copy(self, source: int, target: int) -> None:
        self.cells[target] = list(self.cells[source])


@dataclass(frozen=True)
class Visit:
    """One session: when it comes, what it brings, how many tokens it takes, when it leaves early.

    arrival, leaves_after: in steps. shared: how many tokens every visit of its owner begins with.
    """

    owner: str
    arrival: int
    prompt: int
    tokens: int
    priority: int = 0
    leaves_after: int | None = None
    shared: int = 0


@dataclass
class Progress:
    visit: Visit
    sequence: Sequence
    came: int
    produced: int = 0
    answered_at: list[int] = field(default_factory=list)
    answered_seconds: list[float] = field(default_factory=list)


class Simulator:
    """One model's sequences. `step` does what the engine does, the native call excepted.

    machine: the seconds of a step from its rows and answers; the scheduler then knows only what it
    measured. Without one a step costs COST, and the scheduler knows that.
    """

    def __init__(
        self,
        page_count: int,
        *,
        context_length: int = 4096,
        weights: dict[str, float] | None = None,
        machine: Callable[[int, int], float] | None = None,
        **config: Any,
    ) -> None:
        self.config = EngineConfig(threads=1, **config)
        self.pool = FakePool(page_count)
        self.ledger = OwnerLedger()
        for owner, weight in (weights or {}).items():
            self.ledger.set_weight(owner, weight)
        pool: Any = self.pool
        self.cache = ModelCache(
            "model", pool, context_length, keeps_prefixes=self.config.prefix_cache
        )
        model: Any = None
        self.state = ModelState(model, self.cache, self.ledger, self.config)
        self.limits = StepLimits(
            self.config.step_tokens,
            self.config.prefill_chunk_tokens,
            step_seconds=self.config.step_seconds,
        )
        self.steps = 0
        self.seconds = 0.0
        self.step_seconds: list[float] = []
        self._machine = machine
        self._estimate = StepCostEstimate()
        self.open: dict[int, Progress] = {}
        self.finished: list[Progress] = []
        self.refused: list[Progress] = []
        self.decoded = 0
        self._next = 0

    def run(self, visits: list[Visit], most_steps: int = 100_000) -> None:
        """Every visit, from its arrival to its end."""
        coming = sorted(visits, key=lambda each: each.arrival, reverse=True)
        while coming or self.open:
            assert self.steps < most_steps, "somebody starves"
            while coming and (coming[-1].arrival <= self.steps or not self.open):
                self.come(coming.pop())
            for progress in list(self.open.values()):
                after = progress.visit.leaves_after
                if after is not None and self.steps - progress.came >= after:
                    self.leave(progress)
            if self.open:
                self.step()

    def come(self, visit: Visit) -> Progress:
        self._next += 1
        sequence = Sequence(self._next, visit.owner, self.cache.take_row(), visit.priority)
        shared = [hash((visit.owner, i)) & 0xFFFF for i in range(min(visit.shared, visit.prompt))]
        own = [hash((self._next, i)) & 0xFFFF for i in range(visit.prompt - len(shared))]
        sequence.tokens = shared + own
        sequence.prompt_count = visit.prompt
        self.state.sequences[sequence.number] = sequence
        progress = self.open[sequence.number] = Progress(visit, sequence, self.steps)
        self.ask(sequence)
        return progress

    def ask(self, sequence: Sequence) -> None:
        sequence.computed = min(sequence.computed, len(sequence.tokens) - 1)
        sequence.want = GREEDY
        self.state.ask(sequence)

    def leave(self, progress: Progress) -> None:
        """Closed in the middle: its pages are free at once."""
        del self.open[progress.sequence.number]
        before = self.cache.free_page_count
        freed = self.cache.exclusive_pages(progress.sequence)
        self.state.remove(progress.sequence)
        assert self.cache.free_page_count == before + freed

    def step(self) -> None:
        state = self.state
        assert state.has_work, "somebody waits for nothing"
        self.ledger.settle(state.owners())
        state.give_pages()
        refused, state.refused = state.refused, []
        for each in refused:
            self.refused.append(self.open.pop(each.number))
            state.answer(each)
            state.remove(each)
        cost = self._estimate.cost if self._machine else COST
        virtual, weights = self.ledger.virtual, self.ledger.weights
        plan = plan_step(state.candidates(), virtual, self.limits, cost, weights, self.steps)
        decoding = sum(state.sequences[row.sequence].pending == 1 for row in plan.rows)
        assert plan.token_count <= self.limits.rows
        assert plan.token_count - decoding <= prompt_budget(decoding, self.limits, cost)
        self.steps += 1
        answers = sum(row.completes for row in plan.rows)
        seconds = self._pass_time(plan.token_count, answers)
        prompt_rows = plan.token_count - decoding
        price = self.ledger.prompt_price(decoding, prompt_rows, answers, seconds, cost)
        self.decoded = decoding
        answered = []
        for row in plan.rows:
            sequence = state.sequences[row.sequence]
            self._write(sequence, row.count)
            state.computed(sequence, row.count, price)
            if row.completes:
                answered.append(sequence)
        for sequence in answered:
            self._check(sequence)
            state.answer(sequence)
            self._go_on(self.open[sequence.number])
        self.check_pages()

    def _pass_time(self, rows: int, answers: int) -> float:
        if self._machine is None:
            seconds = COST.seconds(rows, answers)
        else:
            seconds = self._machine(rows, answers)
            self._estimate.observe(rows, answers, seconds)
        self.seconds += seconds
        self.step_seconds.append(seconds)
        return seconds

    def _go_on(self, progress: Progress) -> None:
        sequence = progress.sequence
        progress.produced += 1
        progress.answered_at.append(self.steps)
        progress.answered_seconds.append(self.seconds)
        sequence.tokens.append(progress.produced)
        room = len(sequence.tokens) < self.cache.context_length
        if progress.produced < progress.visit.tokens and room:
            self.ask(sequence)
        else:
            del self.open[sequence.number]
            self.finished.append(progress)
            self.state.remove(sequence)

    def _write(self, sequence: Sequence, count: int) -> None:
        text = _hashes(sequence.tokens)
        for position in range(sequence.computed, sequence.computed + count):
            page = sequence.pages[position // PAGE_TOKENS]
            assert self.cache.table[sequence.table_row, position // PAGE_TOKENS] == page
            references = self.cache._allocator.references(page)
            assert references == 1, "a shared page is written"
            self.pool.cells[page][position % PAGE_TOKENS] = text[position]

    def _check(self, sequence: Sequence) -> None:
        cells = [cell for page in sequence.pages for cell in self.pool.cells[page]]
        assert cells[: len(sequence.tokens)] == _hashes(sequence.tokens)

    def check_pages(self) -> None:
        """Every page is held, kept or free, and nothing is counted twice."""
        sequences = self.state.sequences.values()
        held = {page for each in sequences for page in each.pages}
        assert len(held) + self.cache.free_page_count == self.cache.page_count


def _hashes(tokens: list[int]) -> list[int]:
    hashes, value = [], 0
    for token in tokens:
        value = hash((value, token))
        hashes.append(value)
    return hashes
