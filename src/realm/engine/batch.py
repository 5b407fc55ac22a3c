"""A planned step as the arrays that the native core takes. Decides nothing, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realm.engine.draws import Draws, build_draws
from realm.engine.scheduler import StepPlan
from realm.engine.sequence import Sequence


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step's arrays; shapes as `Transformer.step` documents them.

    answered: the sequences whose answers the step gives, in the order of `logit_rows`.
    draws: what is sampled for them.
    """

    tokens: NDArray[np.int32]
    segments: NDArray[np.int32]
    logit_rows: NDArray[np.int32]
    draws: Draws
    answered: tuple[Sequence, ...]


def build_batch(plan: StepPlan, sequences: dict[int, Sequence]) -> Batch:
    """The arrays of a plan; every sequence already has its pages."""
    tokens: list[int] = []
    segments: list[tuple[int, int, int]] = []
    logit_rows: list[int] = []
    answered: list[Sequence] = []
    for row in plan.rows:
        sequence = sequences[row.sequence]
        begin = sequence.computed
        tokens += sequence.tokens[begin : begin + row.count]
        segments.append((sequence.table_row, begin, row.count))
        if row.completes:
            logit_rows.append(len(tokens) - 1)
            answered.append(sequence)
    return Batch(
        tokens=np.array(tokens, np.int32),
        segments=np.array(segments, np.int32),
        logit_rows=np.array(logit_rows, np.int32),
        draws=build_draws(answered),
        answered=tuple(answered),
    )
