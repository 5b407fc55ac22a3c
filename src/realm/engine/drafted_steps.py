"""Steps that follow one in its native call, each with rows of what was drafted for them.

What the target drew is compared with what was drafted, and drafted for anew, from texts or by a
model that reads features, in the native core (`native/core/drafted_steps.cpp`); here is what goes
in, and what came of each step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm.engine.draws import NO_TOKEN
from realm.engine.sequence import Sequence
from realm.engine.speculation import GRADE_COUNT, LEAST_SHARE, SOURCES, Draft
from realm.kernels import DraftedSteps, FeatureDraft, SequenceTexts, TokenIndex

_MOST_WANTED = 1 << 30  # more than any text has


class DraftedLimits(NamedTuple):
    """further: steps after the planned one. width: most tokens of one draft.

    least: the chance of a first token below which nothing is copied. least_gain: what drafting
    must bring over not drafting, in tokens a second. seconds: of a step with so
    many drafted tokens, up to as many as it may have. most_seconds: of all further steps.
    """

    further: int
    width: int
    least: float
    least_gain: float
    seconds: list[float]
    most_seconds: float


class DraftedRows(NamedTuple):
    """One sequence in one of the steps: its draft, also what was not verified of it, and what was
    drawn in each of its rows."""

    draft: Draft | None
    sampled: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class DraftedCall:
    """Several steps in one native call: `native` is for `Transformer.step`, which fills the rest.

    sampled: int32 [further, sequences, 1 + width]. sources: int32 [1 + further, sequences], of the
    drafts behind each step. drafted, grades: int32 [1 + further, sequences, width]. features:
    float32 [sequences, parts, hidden], of the newest tokens. durations: float64 [2 + further],
    seconds of each step and, last, of the draft model. NO_TOKEN where nothing came.
    """

    native: DraftedSteps
    sampled: NDArray[np.int32]
    sources: NDArray[np.int32]
    drafted: NDArray[np.int32]
    grades: NDArray[np.int32]
    features: NDArray[np.float32]
    durations: NDArray[np.float64]

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
            drawn = [[token for token in row if token != NO_TOKEN] for row in rows]
            steps.append(
                [DraftedRows(*each) for each in zip(self._drafts(time), drawn, strict=True)]
            )
        return steps

    def left_over(self) -> list[Draft | None]:
        """What was drafted behind the last step, nothing of which has been verified; none if
        nothing was."""
        last = self.native.drafted_times - 1
        if last < 0 or (last < len(self.sampled) and self.sampled[last, 0, 0] != NO_TOKEN):
            return []
        return self._drafts(last)

    def _drafts(self, time: int) -> list[Draft | None]:
        found: list[Draft | None] = []
        for source, tokens, grades in zip(
            self.sources[time].tolist(),
            self.drafted[time].tolist(),
            self.grades[time].tolist(),
            strict=True,
        ):
            if source < 0:
                found.append(None)
                continue
            count = tokens.index(NO_TOKEN) if NO_TOKEN in tokens else len(tokens)
            found.append(Draft(SOURCES[source], tuple(tokens[:count]), tuple(grades[:count])))
        return found


def open_drafted_call(
    sequences: Items[Sequence],
    draft: FeatureDraft | None,
    feature_shape: tuple[int, int],
    limits: DraftedLimits,
) -> DraftedCall:
    """For a step with these sequences, also those without drafts. draft: of a model for them.
    feature_shape: parts, hidden."""
    count, width = len(sequences), limits.width
    sampled = np.empty((limits.further, count, 1 + width), np.int32)
    sources = np.empty((1 + limits.further, count), np.int32)
    drafted = np.empty((1 + limits.further, count, width), np.int32)
    grades = np.empty(drafted.shape, np.int32)
    features = np.empty((count, *feature_shape), np.float32)
    durations = np.empty(2 + limits.further, np.float64)
    owners = Counter(each.owner for each in sequences)
    numbers = {owner: number for number, owner in enumerate(owners)}
    rows = [
        (min(each.more, _MOST_WANTED), min(each.draft_k, width), numbers[each.owner])
        for each in sequences
    ]
    native = DraftedSteps(
        draft,
        [_texts(each) for each in sequences],
        sequences=np.array(rows, np.int32),
        owner_rows=np.array(list(owners.values()), np.int32),
        chances=np.array([_chances(each) for each in sequences], np.float64),
        seconds=np.array(limits.seconds, np.float64),
        most_seconds=limits.most_seconds,
        least=limits.least,
        least_gain=limits.least_gain,
        least_share=LEAST_SHARE,
        sampled=sampled,
        sources=sources,
        drafted=drafted,
        grades=grades,
        features=features.reshape(count, -1),
        durations=durations,
    )
    return DraftedCall(native, sampled, sources, drafted, grades, features, durations)


def _texts(sequence: Sequence) -> SequenceTexts:
    if sequence.speculation is None:
        return SequenceTexts(1, False, TokenIndex())  # nothing is copied from them
    return sequence.speculation.texts(sequence.tokens)


def _chances(sequence: Sequence) -> Items[Items[float]]:
    if sequence.speculation is None:
        return [[0.0] * GRADE_COUNT for _ in SOURCES]
    return sequence.speculation.chances
