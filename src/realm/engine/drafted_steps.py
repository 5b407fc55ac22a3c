"""Steps that follow one in its native call, each with rows of what a draft model drafted for them.

What the target drew is compared with what was drafted, and drafted for anew, in the native core
(`native/core/drafted_steps.cpp`); here is what goes in, and what came of each step.
"""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm.engine.draws import NO_TOKEN, AnswerRow, build_draws
from realm.engine.sequence import Sequence
from realm.engine.speculation import Draft, Source, probability_grade
from realm.kernels import CachePool, DraftedSteps
from realm.model import DraftModel

_MOST_WANTED = 1 << 30  # more than any text has


class DraftedLimits(NamedTuple):
    """further: steps after the planned one. most: tokens of one draft. rows: drafted, of one step.

    least: the chance below which no token is drafted. costs: seconds of a step in which every
    sequence has so many drafted tokens, from 0 to `most`.
    """

    further: int
    most: int
    rows: int
    least: float
    costs: tuple[float, ...]


class Drafted(NamedTuple):
    """What a draft model drew for one sequence, the next token first, and how likely each was."""

    token_ids: tuple[int, ...]
    probabilities: tuple[float, ...]

    def draft(self) -> Draft | None:
        """None of no tokens."""
        if not self.token_ids:
            return None
        grades = tuple(probability_grade(each) for each in self.probabilities)
        return Draft(Source.MODEL, self.token_ids, grades)


class DraftedRows(NamedTuple):
    """One sequence in one of the steps: its draft, also what was not verified of it, and what was
    drawn in each of its rows."""

    draft: Draft | None
    sampled: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class DraftedCall:
    """Several steps in one native call: `native` is for `Transformer.step`, which fills the rest.

    sampled: int32 [further, sequences, 1 + most]. drafted: int32 [1 + further, sequences, most],
    behind each step. probabilities: float32, the same shape. features: float32 [sequences, hidden],
    of the newest tokens. NO_TOKEN where nothing came.
    """

    native: DraftedSteps
    sampled: NDArray[np.int32]
    drafted: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    features: NDArray[np.float32]

    @property
    def draft_steps(self) -> int:
        """Steps of the draft model."""
        return self.native.draft_steps

    def steps(self) -> list[list[DraftedRows]]:
        """Those that came, each with the rows of every sequence."""
        steps = []
        for time, rows in enumerate(self.sampled.tolist()):
            if rows[0][0] == NO_TOKEN:
                break
            drafts = [each.draft() for each in self._drafted(time)]
            drawn = [[token for token in row if token != NO_TOKEN] for row in rows]
            steps.append([DraftedRows(*each) for each in zip(drafts, drawn, strict=True)])
        return steps

    def left_over(self) -> list[Drafted]:
        """What was drafted behind the last step, nothing of which has been verified; none if
        nothing was."""
        last = self.native.drafted_times - 1
        if last < 0 or (last < len(self.sampled) and self.sampled[last, 0, 0] != NO_TOKEN):
            return []
        return self._drafted(last)

    def _drafted(self, time: int) -> list[Drafted]:
        found = []
        for tokens, chances in zip(
            self.drafted[time].tolist(), self.probabilities[time].tolist(), strict=True
        ):
            count = tokens.index(NO_TOKEN) if NO_TOKEN in tokens else len(tokens)
            found.append(Drafted(tuple(tokens[:count]), tuple(chances[:count])))
        return found


def open_drafted_call(  # noqa: PLR0917
    draft: DraftModel,
    pool: CachePool,
    table: NDArray[np.int32],
    sequences: Items[tuple[Sequence, Sequence]],
    chances: Items[Items[float]],
    limits: DraftedLimits,
) -> DraftedCall:
    """For a step with these sequences. sequences: each with its stand-in under the draft's policy.

    chances: that a token is right, by grade. table: int32 [sequences, pages], the pages of each
    one's drafts in `pool`.
    """
    count, most = len(sequences), limits.most
    sampled = np.empty((limits.further, count, 1 + most), np.int32)
    drafted = np.empty((1 + limits.further, count, most), np.int32)
    probabilities = np.empty(drafted.shape, np.float32)
    features = np.empty((count, draft.stored.hyperparameters.hidden_size), np.float32)
    draws = build_draws([AnswerRow(each) for _, each in sequences], most).arguments
    native = DraftedSteps(
        draft.stored.native,
        pool,
        page_table=table,
        from_target=draft.from_target,
        to_target=draft.to_target,
        sampling_floats=draws["sampling_floats"],
        sampling_integers=draws["sampling_integers"],
        history=draws["history"],
        logprobs=draws["logprobs"],
        logprob_tokens=draws["logprob_tokens"],
        chances=np.array(chances, np.float32),
        costs=np.array(limits.costs, np.float32),
        wanted=np.array([min(each.more, _MOST_WANTED) for each, _ in sequences], np.int32),
        least=limits.least,
        most_rows=limits.rows,
        sampled=sampled,
        drafted=drafted,
        probabilities=probabilities,
        features=features,
    )
    return DraftedCall(native, sampled, drafted, probabilities, features)
