"""Drafts from a draft model that goes on from what the target's head multiplied last.

That row says most of what the target knows of the text (Li et al., 2024), so the draft reads no
token but the newest and keeps nothing: every draft begins anew, at the first position of a page
that all sequences use in turn. So it can draft between two steps of one native call as well.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Items
from typing import NamedTuple

import numpy as np

from realm.config import SamplingParameters
from realm.engine.draft_steps import STEPS_AT_ONCE, DraftRows, draft_policy, draw_steps
from realm.engine.drafter import DraftChain, Drafter, DraftWish, Effort
from realm.engine.draws import AnswerRow, DrawArguments, build_draws
from realm.engine.sequence import Feature, Sequence
from realm.engine.speculation import Draft
from realm.kernels import NEXT_CHANCE, CachePool, FeatureDraft, Team
from realm.model import DraftModel, StoredModel, feature_parts

MOST_DRAFTED = STEPS_AT_ONCE  # tokens of one draft
_FIRST_PAGES = 16
_GAIN = 0.1  # of the seconds of a native step
_MOST_RATIO = 2.0  # a stall of the machine counts as so many times as long


class _LeftOver(NamedTuple):
    """What was drafted behind the last step of a call. feature: of the token before it."""

    feature: Feature
    want: SamplingParameters
    draft: Draft


class _Policies(NamedTuple):
    """What was made last to draw `most` tokens under each of these policies."""

    stand_ins: list[Sequence]
    most: int
    arguments: DrawArguments


_NO_POLICIES = _Policies([], 0, {})


class FeatureDrafts(Drafter):
    """A draft model that reads features. clock: seconds."""

    def __init__(
        self, draft: DraftModel, target: StoredModel, team: Team, clock: Callable[[], float]
    ) -> None:
        super().__init__(draft, target, clock)
        self._layers = draft.stored.hyperparameters.feature_layers
        self._team = team
        self._left_over: dict[int, _LeftOver] = {}
        # By sequence: under which policy it was, and what draws for it.
        self._stand_ins: dict[int, tuple[SamplingParameters, Sequence]] = {}
        self._policies = _NO_POLICIES
        self._table = np.empty((0, 1), np.int32)
        self._make_pages(1)

    def forget(self, number: int) -> None:
        """See `Drafter`."""
        self._stand_ins.pop(number, None)
        self._left_over.pop(number, None)
        self._policies = _NO_POLICIES

    def truncate(self, number: int, length: int) -> None:
        """See `Drafter`: the sequence's feature is another one now, or none."""

    def rows_for(
        self,
        sequences: Items[Sequence],
        expected: Mapping[int, float],
        most: int,
        least: float,
        layers: Items[int],
    ) -> FeatureDraft:
        """What drafts for these sequences between native steps.

        expected: tokens that it is likely to bring, by sequence: one at least; others are not
        drafted for. most: tokens of a draft. least: the chance below which none is drafted.
        layers: of which the target's steps leave features.
        """
        self._make_pages(len(sequences))
        most = min(most, MOST_DRAFTED)
        stand_ins = {
            each.number: self._stand_in(each) for each in sequences if each.number in expected
        }
        anyone = next(iter(stand_ins.values()))
        draws = self._policies_of([stand_ins.get(each.number, anyone) for each in sequences], most)
        return FeatureDraft(
            self.draft.stored.native,
            self._pool,
            page_table=self._table[: len(sequences)],
            from_target=self.draft.from_target,
            to_target=self.draft.to_target,
            sampling_floats=draws["sampling_floats"],
            sampling_integers=draws["sampling_integers"],
            history=draws["history"],
            logprobs=draws["logprobs"],
            logprob_tokens=draws["logprob_tokens"],
            expected=np.array([expected.get(each.number, 0.0) for each in sequences], np.float64),
            most=most,
            least=least,
            seconds=self.native_seconds,
            feature_parts=feature_parts(self._layers, layers),
        )

    def observe(self, seconds: float) -> None:
        """A step of it in a native call took so long."""
        seconds = min(seconds, _MOST_RATIO * self.native_seconds or seconds)
        self.native_seconds += (seconds - self.native_seconds) * (
            _GAIN if self.native_seconds else 1.0
        )

    def keep(self, sequence: Sequence, draft: Draft) -> None:
        """What was drafted for it already, from the feature that it has."""
        assert isinstance(sequence.want, SamplingParameters) and sequence.feature is not None
        self._left_over[sequence.number] = _LeftOver(sequence.feature, sequence.want, draft)

    def _propose(self, wishes: Items[DraftWish], least: float) -> tuple[dict[int, Draft], Effort]:
        rows = DraftRows()
        chains: dict[int, DraftChain] = {}
        made: dict[int, DraftChain] = {}
        for wish in wishes:
            sequence = wish.sequence
            chain = DraftChain(min(wish.most, MOST_DRAFTED), wish.chance)
            feature = sequence.newest_feature(self._layers)
            known = self._left_over.pop(sequence.number, None)
            if feature is None:
                continue
            if (
                known is not None
                and known.feature is sequence.feature
                and known.want == sequence.want
            ):
                made[sequence.number] = chain
                for drawn, grade in zip(known.draft.token_ids, known.draft.grades, strict=True):
                    if not chain.extend(drawn, grade, least):
                        break
                continue
            chains[sequence.number] = chain
            token = self.draft.tokens_of(sequence.tokens[-1:])
            rows.add(token, len(rows.segments), 0, self._stand_in(sequence))
            rows.features.append(feature)
        step_count = self._draw(rows, chains, least) if chains else 0
        drafts = {n: each.draft() for n, each in {**chains, **made}.items() if each.tokens}
        return drafts, Effort(step_count, step_count * len(chains))

    def _draw(self, rows: DraftRows, chains: dict[int, DraftChain], least: float) -> int:
        """Drafts behind these rows, one for each chain; in how many steps."""
        self._make_pages(len(chains))
        times = min(each.most for each in chains.values()) - 1
        begin = self._clock()
        lasting = min(least / NEXT_CHANCE, 1.0)
        steps = draw_steps(self.draft, self._pool, self._table, self._team, rows, times, lasting)
        self.observe((self._clock() - begin) / len(steps))
        active = list(enumerate(chains.values()))
        for drawn in steps:
            active = [(row, each) for row, each in active if self._extend(each, drawn[row], least)]
        return len(steps)

    def _stand_in(self, sequence: Sequence) -> Sequence:
        """The same tokens under the draft's policy."""
        assert isinstance(sequence.want, SamplingParameters)
        want, found = self._stand_ins.get(sequence.number, (None, None))
        if found is None or want != sequence.want:
            policy, tokens = draft_policy(sequence.want), sequence.tokens
            found = Sequence(sequence.number, sequence.owner, 0, tokens=tokens, want=policy)
            self._stand_ins[sequence.number] = sequence.want, found
        return found

    def _policies_of(self, stand_ins: list[Sequence], most: int) -> DrawArguments:
        """What draws for these between native steps, where each one's position is known."""
        known = self._policies
        is_same = known.most == most and len(known.stand_ins) == len(stand_ins)
        if not is_same or any(map(operator.is_not, known.stand_ins, stand_ins)):
            arguments = build_draws([AnswerRow(each) for each in stand_ins], most).arguments
            self._policies = known = _Policies(stand_ins, most, arguments)
        return known.arguments

    def _make_pages(self, count: int) -> None:
        """A page for each of so many drafts; what stood in others is not needed any more."""
        if count <= len(self._table):
            return
        count = max(2 * count, _FIRST_PAGES)
        self._pool = CachePool(self.draft.stored.native, count)
        self._table = np.arange(count, dtype=np.int32).reshape(count, 1)
