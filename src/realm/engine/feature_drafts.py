"""Drafts from a draft model that goes on from what the target's head multiplied last.

That row says most of what the target knows of the text (Li et al., 2024), so the draft reads no
token but the newest and keeps nothing: every draft begins anew, at the first position of a page
that all sequences use in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items

import numpy as np

from realm.config import SamplingParameters
from realm.engine.draft_steps import STEPS_AT_ONCE, DraftRows, draft_policy, draw_steps
from realm.engine.drafter import DraftChain, Drafter, DraftWish, Effort
from realm.engine.sequence import Sequence
from realm.engine.speculation import Draft
from realm.kernels import CachePool, Team
from realm.model import DraftModel, StoredModel

_MOST = STEPS_AT_ONCE  # tokens of one draft
_FIRST_PAGES = 16


class FeatureDrafts(Drafter):
    """A draft model that reads features. clock: seconds."""

    def __init__(
        self, draft: DraftModel, target: StoredModel, team: Team, clock: Callable[[], float]
    ) -> None:
        super().__init__(draft, target, clock)
        self._team = team
        # By sequence: under which policy it was, and what draws for it.
        self._stand_ins: dict[int, tuple[SamplingParameters, Sequence]] = {}
        self._make_pages(_FIRST_PAGES)

    def forget(self, number: int) -> None:
        """See `Drafter`."""
        self._stand_ins.pop(number, None)

    def truncate(self, number: int, length: int) -> None:
        """See `Drafter`: nothing is kept that could be wrong."""

    def _propose(self, wishes: Items[DraftWish], least: float) -> tuple[dict[int, Draft], Effort]:
        rows = DraftRows()
        chains: dict[int, DraftChain] = {}
        for wish in wishes:
            sequence = wish.sequence
            feature = sequence.newest_feature
            if feature is None:
                continue
            chains[sequence.number] = DraftChain(min(wish.most, _MOST), wish.chance)
            token = self.draft.tokens_of(sequence.tokens[-1:])
            rows.add(token, len(rows.segments), 0, self._stand_in(sequence))
            rows.features.append(feature)
        if not chains:
            return {}, Effort(0, 0)
        if len(chains) > len(self._table):
            self._make_pages(2 * len(chains))
        times = min(each.most for each in chains.values()) - 1
        steps = draw_steps(self.draft, self._pool, self._table, self._team, rows, times, least)
        active = list(enumerate(chains.values()))
        for drawn in steps:
            active = [(row, each) for row, each in active if self._extend(each, drawn[row], least)]
        drafts = {number: each.draft() for number, each in chains.items() if each.tokens}
        return drafts, Effort(len(steps), len(steps) * len(chains))

    def _stand_in(self, sequence: Sequence) -> Sequence:
        """The same tokens under the draft's policy."""
        assert isinstance(sequence.want, SamplingParameters)
        want, found = self._stand_ins.get(sequence.number, (None, None))
        if found is None or want != sequence.want:
            policy, tokens = draft_policy(sequence.want), sequence.tokens
            found = Sequence(sequence.number, sequence.owner, 0, tokens=tokens, want=policy)
            self._stand_ins[sequence.number] = sequence.want, found
        return found

    def _make_pages(self, count: int) -> None:
        """A page for each of so many drafts; what stood in others is not needed any more."""
        self._pool = CachePool(self.draft.stored.native, count)
        self._table = np.arange(count, dtype=np.int32).reshape(count, 1)
