"""Drafts from a draft model: its own cache, beside the target's, and one batch for all sequences.

The draft's cache is only ever a guess of what comes next: what it holds beyond the tokens that
joined is found out and computed again, so forks, rewinds and prefix hits of the target cannot leave
it stale.
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Callable
from collections.abc import Sequence as Items
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm.config import SamplingParameters
from realm.engine.cache import ModelCache
from realm.engine.draws import AnswerRow, build_draws, later_draws
from realm.engine.sequence import Sequence
from realm.engine.speculation import Draft, Source, probability_grade
from realm.errors import CapacityError, RealmError
from realm.kernels import CachePool, Team
from realm.model import DraftModel, StoredModel

_LOGGER = logging.getLogger(__name__)
_CATCH_UP_ROWS = 256  # of prompts, in one step
_GAIN = 0.1  # of the seconds of a draft's step
_STEPS_AT_ONCE = 4  # in one native call


class DraftWish(NamedTuple):
    """A sequence that decodes.

    most: tokens that its draft may have. chance: that one is right, by grade.
    """

    sequence: Sequence
    most: int
    chance: Callable[[int], float]


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


class ModelDrafts:
    """One draft model for the sequences of one target.

    context_length: most tokens of a sequence. cache_bytes: of the draft's cache. clock: seconds.
    seconds: of one step of the draft and the work around it, by now; 0 before the first. is_alive:
    False after it failed; it then drafts no more, and its sequences go on without it. is_wanted:
    False when no further sequence will have it.
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
        model = draft.stored
        page_count = cache_bytes // model.native.page_bytes()
        if page_count < 1:
            raise CapacityError(f"{cache_bytes} bytes do not hold one cache page of the draft")
        self.seconds = 0.0
        self.is_alive = True
        self.is_wanted = True
        self._draft = draft
        self._target = target
        self._team = team
        self._clock = clock
        self._cache = ModelCache(
            model.content_hash,
            CachePool(model.native, page_count),
            min(context_length, model.hyperparameters.context_length),
            keeps_prefixes=False,
        )
        self._mirrors: dict[int, _Mirror] = {}  # those used latest last

    @property
    def relative_cost(self) -> float:
        """What a step of the draft may take before one was measured, in steps of the target."""
        return self._draft.stored.bytes_per_token / self._target.bytes_per_token

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

    def propose(self, wishes: Items[DraftWish], least: float) -> dict[int, Draft]:
        """Drafts by sequence. least: the chance below which no further token is drafted.

        Sequences with a long text that the draft has not read yet get theirs a few steps later.
        """
        if not self.is_alive:
            return {}
        begin = self._clock()
        try:
            drafts, step_count, row_count = self._propose(wishes, least)
        except RealmError as error:
            _LOGGER.warning("the draft model %s failed: %s", self._draft.stored.name, error)
            self.is_alive = False
            return {}
        # Texts that it has not read yet would pass for slow steps.
        if step_count and row_count <= 2 * step_count * len(wishes):
            seconds = (self._clock() - begin) / step_count
            self.seconds += (seconds - self.seconds) * (_GAIN if self.seconds else 1.0)
        return drafts

    def _propose(self, wishes: Items[DraftWish], least: float) -> tuple[dict[int, Draft], int, int]:
        """The drafts, and how many steps of how many rows they took."""
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
                chains[wish.sequence.number] = _Chain(mirror, most, wish.chance, [], [])
        active = list(chains.values())
        while rows:
            most = min((each.most - len(each.tokens) for each in active), default=1)
            steps = self._steps(rows, min(most, _STEPS_AT_ONCE), least)
            step_count += len(steps)
            row_count += sum(count for _, count in rows) + len(rows) * (len(steps) - 1)
            for number, sampled in enumerate(steps):
                for each in active if number else ():
                    each.mirror.own.computed += 1
                active = [each for each in active if self._extend(each, sampled, least)]
            rows = [(each.mirror, 1) for each in active]
        drafts = {
            number: Draft(Source.MODEL, tuple(each.tokens), tuple(each.grades))
            for number, each in chains.items()
            if each.tokens
        }
        return drafts, step_count, row_count

    def _mirror(self, sequence: Sequence) -> _Mirror:
        """The sequence's, with all of its tokens and nothing that is not the target's."""
        mirror = self._mirrors.pop(sequence.number, None)
        if mirror is None:
            own = Sequence(sequence.number, sequence.owner, self._cache.take_row())
            mirror = _Mirror(own)
        self._mirrors[sequence.number] = mirror
        own, known = mirror.own, mirror.known
        news = self._draft.tokens_of(sequence.tokens[known:])
        guessed = own.tokens[known:]
        right = 0
        while right < min(len(news), len(guessed)) and news[right] == guessed[right]:
            right += 1
        mirror.truncate(known + right)
        own.tokens += news[right:]
        mirror.known = len(own.tokens)
        # The answer comes from computing the last token, also when the cache holds it.
        own.computed = min(own.computed, len(own.tokens) - 1)
        if mirror.want is not sequence.want:
            assert isinstance(sequence.want, SamplingParameters)
            mirror.want = sequence.want
            mirror.policy = replace(
                sequence.want,
                logit_bias=(),
                logprobs=0,
                repetition_penalty=1.0,
                presence_penalty=0.0,
                frequency_penalty=0.0,
            )
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
    ) -> list[dict[int, tuple[int, float]]]:
        """Computes the next tokens of each, and goes on with what is drawn, `most` steps in all.

        Of each step, by sequence the token that follows and its chance. It ends sooner when no
        sequence's tokens have the chance `least` any more.
        """
        model = self._draft.stored
        tokens: list[int] = []
        segments: list[tuple[int, int, int]] = []
        logit_rows: list[int] = []
        answered: list[Sequence] = []
        for mirror, count in rows:
            own = mirror.own
            tokens += own.tokens[own.computed : own.computed + count]
            segments.append((own.table_row, own.computed, count))
            own.computed += count
            if not own.pending:
                logit_rows.append(len(tokens) - 1)
                answered.append(own)
        times = most - 1 if len(answered) == len(rows) else 0
        draws = build_draws([AnswerRow(own) for own in answered], 1 + times)
        following = np.empty((times, len(rows)), np.int32) if times else None
        with model.step_lock:
            sampled: NDArray[np.int32] = model.native.step(
                self._cache.pool,
                self._team,
                tokens=np.array(tokens, np.int32),
                page_table=self._cache.table,
                segments=np.array(segments, np.int32),
                layer_begin=0,
                layer_end=model.hyperparameters.layer_count,
                logit_rows=np.array(logit_rows, np.int32),
                **draws.arguments,
                noise_tokens=self._draft.to_target,
                following=following,
                least_logprob=math.log(least) if least > 0.0 else -math.inf,
            )
        steps: list[list[int]] = [sampled.tolist(), *later_draws(following)]
        return [
            {
                own.number: (
                    token,
                    math.exp(draws.logprobs(first + row)[0].logprob) if token >= 0 else 0.0,
                )
                for row, (own, token) in enumerate(zip(answered, drawn, strict=True))
            }
            for first, drawn in zip(itertools.count(0, len(answered)), steps, strict=False)
        ]

    def _extend(self, chain: _Chain, sampled: dict[int, tuple[int, float]], least: float) -> bool:
        """Whether the draft goes on, with the token that was drawn for it now."""
        own = chain.mirror.own
        token, probability = sampled[own.number]
        target = self._draft.target_token(token) if token >= 0 else -1
        if target < 0:
            return False
        grade = probability_grade(probability)
        chain.survival *= chain.chance(grade)
        if chain.survival < least and chain.tokens:
            return False
        chain.tokens.append(target)
        chain.grades.append(grade)
        own.tokens.append(token)
        return len(chain.tokens) < chain.most and chain.survival >= least


@dataclass(slots=True)
class _Chain:
    """A draft in the making. survival: the chance that all of it is right."""

    mirror: _Mirror
    most: int
    chance: Callable[[int], float]
    tokens: list[int]
    grades: list[int]
    survival: float = 1.0
