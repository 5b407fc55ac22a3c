"""Drafts from a draft model: its own cache, beside the target's, and one batch for all sequences.

The draft's cache is only ever a guess of what comes next: what it holds beyond the tokens that
joined is found out and computed again, so forks, rewinds and prefix hits of the target cannot leave
it stale.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass

from realm.config import SamplingParameters
from realm.engine.cache import ModelCache
from realm.engine.draft_steps import STEPS_AT_ONCE, DraftRows, Drawn, draft_policy, draw_steps
from realm.engine.drafter import DraftChain, Drafter, DraftWish, Effort
from realm.engine.sequence import Sequence
from realm.engine.speculation import Draft
from realm.errors import CapacityError
from realm.kernels import CachePool, Team
from realm.model import DraftModel, StoredModel

_CATCH_UP_ROWS = 256  # of prompts, in one step


@dataclass(slots=True)
class _Mirror:
    """What the draft's cache holds of a sequence. own: its tokens are the draft's.

    known: how many of them are the target's, as far as it was looked. want, policy: the target's
    policy, and the draft's for it.
    """

    own: Sequence
    known: int = 0
    want: SamplingParameters | None = None
    policy: SamplingParameters | None = None

    def truncate(self, length: int) -> None:
        del self.own.tokens[length:]
        self.own.computed = min(self.own.computed, length)
        self.known = min(self.known, length)


class ModelDrafts(Drafter):
    """A draft model that reads a sequence's tokens, into a cache of its own.

    context_length: most tokens of a sequence. cache_bytes: of the draft's cache. clock: seconds.
    """

    def __init__(  # noqa: PLR0917
        self,
        draft: DraftModel,
        target: StoredModel,
        team: Team,
        context_length: int,
        cache_bytes: int,
        clock: Callable[[], float],
    ) -> None:
        """Raises CapacityError when not one cache page fits."""
        super().__init__(draft, target, clock)
        model = draft.stored
        page_count = cache_bytes // model.native.page_bytes()
        if page_count < 1:
            raise CapacityError(f"{cache_bytes} bytes do not hold one cache page of the draft")
        self._team = team
        self._cache = ModelCache(
            model.content_hash,
            CachePool(model.native, page_count),
            min(context_length, model.hyperparameters.context_length),
            keeps_prefixes=False,
        )
        self._mirrors: dict[int, _Mirror] = {}  # those used latest last

    def forget(self, number: int) -> None:
        """The sequence is closed."""
        mirror = self._mirrors.pop(number, None)
        if mirror is not None:
            self._cache.drop(mirror.own)

    def truncate(self, number: int, length: int) -> None:
        """The sequence was rewound to its first `length` tokens."""
        mirror = self._mirrors.get(number)
        if mirror is not None:
            mirror.truncate(length)
            self._cache.truncate(mirror.own, mirror.own.computed)

    def _propose(self, wishes: Items[DraftWish], least: float) -> tuple[dict[int, Draft], Effort]:
        """See `Drafter`. Sequences with a long text that the draft has not read yet get theirs a
        few steps later."""
        step_count = row_count = 0
        chains: dict[int, _Chain] = {}
        rows: list[tuple[_Mirror, int]] = []
        busy = {wish.sequence.number for wish in wishes}
        room = _CATCH_UP_ROWS
        for wish in wishes:
            mirror = self._mirror(wish.sequence)
            most = min(wish.most, self._cache.context_length - len(mirror.own.tokens))
            count = min(mirror.own.pending, room)
            if most < 1 or count < 1 or not self._make_room(mirror, most, busy):
                continue
            room -= count
            rows.append((mirror, count))
            if count == mirror.own.pending:
                chains[wish.sequence.number] = _Chain(mirror, DraftChain(most, wish.chance))
        active = list(chains.values())
        while rows:
            most = min((each.made.most - len(each.made.tokens) for each in active), default=1)
            steps = self._steps(rows, min(most, STEPS_AT_ONCE), least)
            step_count += len(steps)
            row_count += sum(count for _, count in rows) + len(rows) * (len(steps) - 1)
            for number, sampled in enumerate(steps):
                for each in active if number else ():
                    each.mirror.own.computed += 1
                active = [
                    each
                    for each in active
                    if self._go_on(each, sampled[each.mirror.own.number], least)
                ]
            rows = [(each.mirror, 1) for each in active]
        drafts = {n: each.made.draft() for n, each in chains.items() if each.made.tokens}
        return drafts, Effort(step_count, row_count)

    def _mirror(self, sequence: Sequence) -> _Mirror:
        """The sequence's, with all of its tokens and nothing that is not the target's."""
        mirror = self._mirrors.pop(sequence.number, None)
        if mirror is None:
            own = Sequence(sequence.number, sequence.owner, self._cache.take_row())
            mirror = _Mirror(own)
        self._mirrors[sequence.number] = mirror
        own, known = mirror.own, mirror.known
        news = self.draft.tokens_of(sequence.tokens[known:])
        guessed = own.tokens[known:]
        right = 0
        while right < min(len(news), len(guessed)) and news[right] == guessed[right]:
            right += 1
        mirror.truncate(known + right)
        own.tokens += news[right:]
        mirror.known = len(own.tokens)
        # The answer comes from computing the last token, also when the cache holds it.
        own.computed = min(own.computed, len(own.tokens) - 1)
        if mirror.want != sequence.want:
            assert isinstance(sequence.want, SamplingParameters)
            mirror.want = sequence.want
            mirror.policy = draft_policy(sequence.want)
        own.want = mirror.policy
        return mirror

    def _make_room(self, mirror: _Mirror, most: int, busy: set[int]) -> bool:
        """Pages for its tokens and the draft, if need be of those not busy, unused for longest."""
        end = len(mirror.own.tokens) + most
        while not self._cache.reserve(mirror.own, end):
            idle = (each.own for each in self._mirrors.values() if each.own.number not in busy)
            victim = next((each for each in idle if each.pages), None)
            if victim is None:
                return False
            victim.computed = 0
            self._cache.truncate(victim, 0)
        return True

    def _steps(
        self, rows: Items[tuple[_Mirror, int]], most: int, least: float
    ) -> list[dict[int, Drawn]]:
        """Computes the next tokens of each, and goes on with what is drawn, `most` steps in all.

        Of each step, what was drawn by sequence. It ends sooner when no sequence's tokens have the
        chance `least` any more.
        """
        given = DraftRows()
        answered: list[Sequence] = []
        for mirror, count in rows:
            own = mirror.own
            tokens = own.tokens[own.computed : own.computed + count]
            position = own.computed
            own.computed += count
            given.add(tokens, own.table_row, position, None if own.pending else own)
            if not own.pending:
                answered.append(own)
        times = most - 1 if len(answered) == len(rows) else 0
        steps = draw_steps(
            self.draft, self._cache.pool, self._cache.table, self._team, given, times, least
        )
        return [
            {own.number: each for own, each in zip(answered, drawn, strict=True)} for drawn in steps
        ]

    def _go_on(self, chain: _Chain, drawn: Drawn, least: float) -> bool:
        """As `_extend`, for the mirror too."""
        length = len(chain.made.tokens)
        goes_on = self._extend(chain.made, drawn, least)
        chain.mirror.own.tokens += [drawn.token] * (len(chain.made.tokens) - length)
        return goes_on


@dataclass(slots=True)
class _Chain:
    """A sequence's draft in the making."""

    mirror: _Mirror
    made: DraftChain
