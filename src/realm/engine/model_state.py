"""The sequences of one model: which run, which wait for pages, which rest. Acts, as planned.

Every open sequence is in one of these: `running` (wants an answer, has pages for all its tokens),
`ready` (wants an answer that is known), `growing` (runs, but needs a page more), `line` (waits for
pages), `resting` (wants nothing, has pages), or in none (wants nothing, has none). Pages that are
short are taken from those that rest, then from the least entitled; what they held is computed again
later.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm.config import EngineConfig
from realm.engine.admission import (
    Holder,
    Room,
    Waiting,
    least_entitled,
    plan_admission,
    plan_displacement,
)
from realm.engine.cache import ModelCache
from realm.engine.drafters import Drafters
from realm.engine.fairness import OwnerLedger
from realm.engine.scheduler import Candidate
from realm.engine.sequence import Sequence
from realm.engine.speculation import Payback, RowCost
from realm.engine.step_cost import StepCostEstimate
from realm.engine.waiting_line import WaitingLine
from realm.errors import CapacityError
from realm.kernels import PAGE_TOKENS, CachePool
from realm.model import StoredModel

# How much of the line one step looks at: so many parts (owner and priority), so many of each.
_LOOKED_AT_PARTS = 8
_LOOKED_AT_DEPTH = 4
_RESERVE_SHARE = 8  # at most one page in this many stays free for those that run


class LastStep(NamedTuple):
    """A step in which all rows decoded. begin: on the engine's clock. step_count: it and those that
    followed in one call. accepted: drafted tokens of each of them that were right, the mean; None
    without drafts."""

    begin: float
    answers: int
    step_count: int
    accepted: float | None


class ModelState:
    """See the module. preemption_count: how often a waiting sequence lost its pages.

    step_count: steps that were planned. cost, row_cost: what its steps take. payback: what drafts
    bring. undrafted_until: the step_count before which no draft is looked for. last_step: the step
    before, if no sequence has come or gone since.
    drafters: draft models for it.
    """

    def __init__(
        self, model: StoredModel, cache: ModelCache, ledger: OwnerLedger, config: EngineConfig
    ) -> None:
        self.model = model
        self.cache = cache
        self.sequences: dict[int, Sequence] = {}
        self.running: dict[int, Sequence] = {}
        self.ready: dict[int, Sequence] = {}
        self.refused: list[Sequence] = []
        self.preemption_count = 0
        self.step_count = 0
        self.cost = StepCostEstimate()
        self.row_cost = RowCost()
        self.payback = Payback()
        self.undrafted_until = 0
        self.last_step: LastStep | None = None
        draft_cache_bytes = config.speculation.draft_cache_bytes
        self.drafters = Drafters(model, cache.context_length, draft_cache_bytes)
        self._growing: dict[int, Sequence] = {}
        self._line = WaitingLine()
        self._resting: dict[int, Sequence] = {}
        self._ledger = ledger
        self._lag = float(config.displacement_tokens)
        self._prompt_limit = config.step_tokens
        self._arrivals = 0
        self._is_stalled = False

    @property
    def has_work(self) -> bool:
        """Whether a step would do something: compute, refuse, or give pages to someone."""
        if self.running or self._growing or self.refused or self.ready:
            return True
        return bool(self._line) and not self._is_stalled

    @cached_property
    def last_tokens(self) -> NDArray[np.int32]:
        """Those after which a text usually ends."""
        return np.array(sorted(self.model.tokenizer.end_of_generation_ids), np.int32)

    def owners(self) -> set[str]:
        """Those that want something."""
        active = {each.owner for each in self.running.values()}
        if self._growing:
            active.update(each.owner for each in self._growing.values())
        if self._line:
            active.update(self._line.owners())
        return active

    def candidates(self) -> list[Candidate]:
        """Everything that could be computed now."""
        return [
            Candidate(
                each.number,
                each.owner,
                len(each.tokens) - each.computed,
                each.priority,
                each.arrival,
            )
            for each in self.running.values()
        ]

    # ---- What happens to a sequence ----

    def add(self, sequence: Sequence) -> None:
        """It is open from now on."""
        self.sequences[sequence.number] = sequence
        self.last_step = None

    def ask(self, sequence: Sequence) -> None:
        """It wants an answer from now on."""
        self._is_stalled = False
        self._resting.pop(sequence.number, None)
        self._ledger.arrive(sequence.owner)
        if sequence.knows_next():
            self.ready[sequence.number] = sequence
            return
        if sequence.ahead:
            sequence.turn()
        if len(sequence.tokens) > self.cache.page_count * PAGE_TOKENS:
            self.refused.append(sequence)
        elif sequence.pages and self.cache.covers(sequence):
            self.running[sequence.number] = sequence
        elif sequence.pages and sequence.pending == 1:
            self._growing[sequence.number] = sequence
        else:
            self._arrivals += 1
            sequence.arrival = self._arrivals
            sequence.passed_pages = 0
            self._line.join(sequence)

    def answer(self, sequence: Sequence) -> None:
        """It wants nothing any more, and keeps its pages while nobody needs them."""
        sequence.want = None
        self.running.pop(sequence.number, None)
        self.ready.pop(sequence.number, None)
        self.rest(sequence)

    def rest(self, sequence: Sequence) -> None:
        """It wants nothing; its pages may have changed."""
        self._is_stalled = False
        if sequence.pages and not sequence.by_layers:
            self._resting[sequence.number] = sequence
        else:
            self._resting.pop(sequence.number, None)

    def share(self, source: Sequence, copy: Sequence) -> None:
        """The copy gets the computed pages of the source, which may be at work."""
        self.cache.share(source, copy, source.computed)
        self.rest(copy)
        if source.number in self.running and not self.cache.covers(source):
            self._growing[source.number] = self.running.pop(source.number)

    def remove(self, sequence: Sequence) -> None:
        """It is closed, whatever it did."""
        number = sequence.number
        in_line = sequence.want is not None
        for place in (self.running, self._growing, self._resting, self.ready):
            in_line &= place.pop(number, None) is None
        if in_line:
            self._line.leave(sequence)
            self.refused = [each for each in self.refused if each is not sequence]
        del self.sequences[number]
        self.last_step = None
        self.cache.drop(sequence)
        self._is_stalled = False

    def computed(self, sequence: Sequence, count: int, prompt_price: float = 1.0) -> None:
        """The next `count` of its tokens are in the cache now. prompt_price: of a prompt row."""
        begin = sequence.computed
        end = sequence.computed = begin + count
        owed = end - max(begin, sequence.paid)
        if owed > 0:
            sequence.served += owed
            if count > 1:
                self._ledger.charge(sequence.owner, owed * prompt_price, decoding=False)
            else:
                self._ledger.charge(sequence.owner, owed, decoding=True)
        self.cache.keep(sequence, begin, end)

    # ---- Pages ----

    def give_pages(self) -> None:
        """Pages for those that grow, then for those in line, as far as they go."""
        for sequence in list(self._growing.values()):
            # Growing for another may have taken this one's pages.
            if sequence.number in self._growing:
                self._grow(sequence)
        if self._line:
            self._admit()
            self._is_stalled = not self.running

    def make_writable(self, sequence: Sequence, begin: int, end: int) -> None:
        """Pages for a layer's rows, which cannot wait: taken from whoever can compute again.

        Raises CapacityError when too few can.
        """
        while True:
            try:
                self.cache.make_writable(sequence, begin, end)
            except CapacityError:
                holders = [h for h in self._holders(self._wanting()) if h.priority <= 0]
                victim = least_entitled(holders, self._ledger.virtual, self._lag)
                if not self._take_from_resting() and victim is None:
                    raise
                if victim is not None:
                    self._preempt(self.sequences[victim.sequence])
            else:
                return

    def _grow(self, sequence: Sequence) -> None:
        while not self.cache.claim(sequence):
            if self._take_from_resting():
                continue
            holders = self._holders(self._wanting())
            victim = least_entitled(holders, self._ledger.virtual, self._lag)
            loser = sequence if victim is None else self.sequences[victim.sequence]
            self._preempt(loser)
            if loser is sequence:
                return
        self.running[sequence.number] = self._growing.pop(sequence.number)

    def _admit(self) -> None:
        virtual = self._ledger.virtual
        while True:
            prompts = [each for each in self.running.values() if each.pending > 1]
            reserve = min(len(self.running), self.cache.page_count // _RESERVE_SHARE)
            room = Room(
                free_pages=self.cache.free_page_count,
                reserve_pages=reserve,
                passing_pages=self.cache.page_count,
                prompt_rows=sum(each.pending for each in prompts),
                prompt_limit=self._prompt_limit,
            )
            busy = {each.owner for each in prompts}
            looked_at = [
                self._waiting(each)
                for each in self._line.first(virtual, _LOOKED_AT_PARTS, _LOOKED_AT_DEPTH)
            ]
            plan = plan_admission(
                looked_at, virtual, room, busy_owners=busy, weights=self._ledger.weights
            )
            for number in plan.admitted:
                self._begin(self.sequences[number])
            blocked = plan.blocked
            if blocked is None:
                if plan.admitted:
                    continue
                return
            claimant = self.sequences[blocked.sequence]
            claimant.passed_pages += plan.passed_pages
            if not self._make_room(claimant, reserve):
                return

    def _begin(self, sequence: Sequence) -> None:
        if self.cache.claim(sequence):
            self._line.leave(sequence)
            sequence.served = 0
            self.running[sequence.number] = sequence

    def _make_room(self, claimant: Sequence, reserve: int) -> bool:
        """Whether the first in line fits now that others gave their pages up for it."""
        cache = self.cache

        def shortage() -> int:
            return cache.needed_pages(claimant) + reserve - cache.free_page_count

        while shortage() > 0 and self._take_from_resting():
            pass
        if shortage() > 0:
            self._take_from_line(claimant)
        missing = shortage()
        if missing > 0:
            holders = self._holders(self.running.values())
            virtual = self._ledger.virtual
            waiting = self._waiting(claimant)
            chosen = plan_displacement(waiting, holders, virtual, self._lag, missing)
            for number in chosen:
                self._preempt(self.sequences[number])
        return shortage() <= 0

    def _take_from_resting(self) -> bool:
        """Takes the pages of the sequence that has wanted nothing for longest."""
        if not self._resting:
            return False
        sequence = self._resting.pop(next(iter(self._resting)))
        self._strip(sequence)
        return True

    def _take_from_line(self, claimant: Sequence) -> None:
        """Takes the pages that others in line still hold from earlier answers."""
        for each in self._line:
            if each is not claimant and each.pages:
                self._strip(each)

    def _preempt(self, sequence: Sequence) -> None:
        self.preemption_count += 1
        sequence.losses += 1
        self._strip(sequence)
        if self.running.pop(sequence.number, None) or self._growing.pop(sequence.number, None):
            self._line.join(sequence)

    def _strip(self, sequence: Sequence) -> None:
        sequence.paid = max(sequence.paid, sequence.computed)
        sequence.computed = 0
        sequence.turn()
        self.cache.truncate(sequence, 0)

    def _wanting(self) -> Iterable[Sequence]:
        yield from self.running.values()
        yield from self._growing.values()
        yield from self._line

    def _holders(self, sequences: Iterable[Sequence]) -> list[Holder]:
        return [
            Holder(
                each.number,
                each.owner,
                each.priority,
                each.arrival,
                each.served,
                self.cache.exclusive_pages(each),
                each.losses,
            )
            for each in sequences
            if each.pages
        ]

    def _waiting(self, each: Sequence) -> Waiting:
        return Waiting(
            each.number,
            each.owner,
            each.priority,
            each.arrival,
            each.pending,
            self.cache.needed_pages(each),
            each.passed_pages,
        )


def open_state(model: StoredModel, ledger: OwnerLedger, config: EngineConfig) -> ModelState:
    """A model's, without sequences. Raises CapacityError when not one cache page fits."""
    page_bytes = model.native.page_bytes(config.cache_precision)
    page_count = config.cache_bytes // page_bytes
    if page_count < 1:
        raise CapacityError(
            f"{config.cache_bytes} bytes do not hold one cache page of {page_bytes}"
        )
    limit = model.hyperparameters.context_length
    cache = ModelCache(
        model.content_hash,
        CachePool(model.native, page_count, config.cache_precision),
        min(config.context_length or limit, limit),
        keeps_prefixes=config.prefix_cache,
    )
    return ModelState(model, cache, ledger, config)
