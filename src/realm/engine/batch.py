"""A planned step as the arrays that the native core takes. Decides nothing, changes nothing."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realm.config import SamplingParameters
from realm.engine.scheduler import StepPlan
from realm.engine.sequence import Sequence

_NO_HISTORY = np.empty(0, np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step's arrays; shapes as `Transformer.step` documents them.

    answered: the sequences whose answers the step gives, in the order of `logit_rows`.
    """

    tokens: NDArray[np.int32]
    segments: NDArray[np.int32]
    logit_rows: NDArray[np.int32]
    sampling_floats: NDArray[np.float32] | None
    sampling_integers: NDArray[np.int64] | None
    history: NDArray[np.int32] | None
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
    floats, integers, history = _draws(answered)
    return Batch(
        tokens=np.array(tokens, np.int32),
        segments=np.array(segments, np.int32),
        logit_rows=np.array(logit_rows, np.int32),
        sampling_floats=floats,
        sampling_integers=integers,
        history=history,
        answered=tuple(answered),
    )


def _draws(
    answered: Items[Sequence],
) -> tuple[NDArray[np.float32] | None, NDArray[np.int64] | None, NDArray[np.int32] | None]:
    if not any(isinstance(each.want, SamplingParameters) for each in answered):
        return None, None, None
    floats: list[tuple[float, ...]] = []
    integers: list[tuple[int, ...]] = []
    histories: list[int] = []
    for sequence in answered:
        want = sequence.want
        if not isinstance(want, SamplingParameters):
            floats.append((0.0,) * 6)
            integers.append((0,) * 7)
            continue
        begin = len(histories)
        if _looks_back(want):
            histories += sequence.tokens
        floats.append(
            (
                want.temperature,
                want.top_p,
                want.min_p,
                want.repetition_penalty,
                want.presence_penalty,
                want.frequency_penalty,
            )
        )
        seed = want.seed - 2**64 if want.seed >= 2**63 else want.seed  # the same 64 bits, signed
        position = len(sequence.tokens)
        count = len(histories) - begin
        integers.append((1, want.top_k, seed, position, begin, count, sequence.prompt_count))
    history = np.array(histories, np.int32) if histories else _NO_HISTORY
    return np.array(floats, np.float32), np.array(integers, np.int64), history


def _looks_back(want: SamplingParameters) -> bool:
    return (
        want.repetition_penalty != 1.0
        or want.presence_penalty != 0.0
        or want.frequency_penalty != 0.0
    )
