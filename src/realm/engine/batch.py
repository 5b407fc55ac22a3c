"""A planned step as the arrays that the native core takes. Decides nothing, changes nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realm.engine.draws import Draws, build_draws
from realm.engine.scheduler import PlannedRows, StepPlan
from realm.engine.sequence import Sequence
from realm.model import AdapterRows, adapter_rows


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step's arrays; shapes as `Transformer.step` documents them.

    answered: the sequences whose answers the step gives, in the order of `logit_rows`.
    draws: what is sampled for them. adapters: what is added to which rows.
    """

    tokens: NDArray[np.int32]
    segments: NDArray[np.int32]
    logit_rows: NDArray[np.int32]
    draws: Draws
    answered: tuple[Sequence, ...]
    adapters: AdapterRows


def build_batch(plan: StepPlan, sequences: dict[int, Sequence]) -> Batch:
    """The arrays of a plan; every sequence already has its pages."""
    tokens: list[int] = []
    segments: list[tuple[int, int, int]] = []
    logit_rows: list[int] = []
    answered: list[Sequence] = []
    rows = _by_adapters(plan, sequences)
    for row in rows:
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
        adapters=adapter_rows([(row.count, sequences[row.sequence].adapters) for row in rows]),
    )


def _by_adapters(plan: StepPlan, sequences: dict[int, Sequence]) -> list[PlannedRows]:
    """The rows, those with the same adapters together: they share their factors."""
    order: dict[tuple[int, ...], int] = {}
    for row in plan.rows:
        order.setdefault(_adapter_set(sequences[row.sequence]), len(order))
    if len(order) == 1:
        return list(plan.rows)
    return sorted(plan.rows, key=lambda row: order[_adapter_set(sequences[row.sequence])])


def _adapter_set(sequence: Sequence) -> tuple[int, ...]:
    return tuple(id(each.packed) for each in sequence.adapters)
