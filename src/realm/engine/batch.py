"""A planned step as the arrays that the native core takes. Decides nothing, changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm.engine.drafting import Guess
from realm.engine.draws import AnswerRow, Draws, build_draws
from realm.engine.scheduler import PlannedRows, StepPlan
from realm.engine.sequence import Sequence
from realm.model import AdapterRows, adapter_rows


class Answered(NamedTuple):
    """A sequence whose answer a step gives. first: of its rows among those that give logits."""

    sequence: Sequence
    first: int


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step's arrays; shapes as `Transformer.step` documents them.

    answered: in the order of `logit_rows`; a sequence has one row more than drafted tokens.
    draws: what is sampled for them. adapters: what is added to which rows.
    """

    tokens: NDArray[np.int32]
    segments: NDArray[np.int32]
    logit_rows: NDArray[np.int32]
    draws: Draws
    answered: tuple[Answered, ...]
    adapters: AdapterRows


def build_batch(
    plan: StepPlan, sequences: Mapping[int, Sequence], guesses: Mapping[int, Guess]
) -> Batch:
    """The arrays of a plan; every sequence already has its pages. guesses: by sequence."""
    tokens: list[int] = []
    segments: list[tuple[int, int, int]] = []
    logit_rows: list[int] = []
    answer_rows: list[AnswerRow] = []
    answered: list[Answered] = []
    added = []
    for row in _by_adapters(plan, sequences):
        sequence = sequences[row.sequence]
        begin, first = sequence.computed, len(tokens)
        tokens += sequence.tokens[begin : begin + row.count]
        if row.completes:
            answered.append(Answered(sequence, len(logit_rows)))
            answer_rows.append(AnswerRow(sequence, (), sequence.allowed))
            logit_rows.append(len(tokens) - 1)
            guess = guesses.get(row.sequence)
            if guess is not None:
                for index, mask in enumerate(guess.masks):
                    answer_rows.append(AnswerRow(sequence, guess.token_ids[: index + 1], mask))
                    logit_rows.append(len(tokens) + index)
                tokens += guess.token_ids
        segments.append((sequence.table_row, begin, len(tokens) - first))
        added.append((len(tokens) - first, sequence.adapters))
    return Batch(
        tokens=np.array(tokens, np.int32),
        segments=np.array(segments, np.int32),
        logit_rows=np.array(logit_rows, np.int32),
        draws=build_draws(answer_rows),
        answered=tuple(answered),
        adapters=adapter_rows(added),
    )


def _by_adapters(plan: StepPlan, sequences: Mapping[int, Sequence]) -> list[PlannedRows]:
    """The rows, those with the same adapters together: they share their factors."""
    if not any(sequences[row.sequence].adapters for row in plan.rows):
        return list(plan.rows)
    order: dict[tuple[int, ...], int] = {}
    for row in plan.rows:
        order.setdefault(_adapter_set(sequences[row.sequence]), len(order))
    return sorted(plan.rows, key=lambda row: order[_adapter_set(sequences[row.sequence])])


def _adapter_set(sequence: Sequence) -> tuple[int, ...]:
    return tuple(id(each.packed) for each in sequence.adapters)
