"""The native steps of a draft model: rows of many sequences, each going on with what it drew."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence as Items
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm.config import SamplingParameters
from realm.engine.draws import AnswerRow, build_draws, later_draws
from realm.engine.sequence import Sequence
from realm.kernels import CachePool, Team
from realm.model import DraftModel

STEPS_AT_ONCE = 4  # in one native call


class Drawn(NamedTuple):
    """A token of the draft, negative for none, and its probability."""

    token: int
    probability: float


@dataclass(slots=True)
class DraftRows:
    """The rows of a step. answered: the sequences for which it draws a token, in order.

    features: float32 [parts, hidden] each, for a draft that reads them.
    """

    tokens: list[int] = field(default_factory=list)
    segments: list[tuple[int, int, int]] = field(default_factory=list)
    logit_rows: list[int] = field(default_factory=list)
    answered: list[Sequence] = field(default_factory=list)
    features: list[NDArray[np.float32]] = field(default_factory=list)

    def add(
        self, tokens: list[int], table_row: int, position: int, answered: Sequence | None
    ) -> None:
        """Rows of one sequence, from a position of its cache pages on. answered: its length and
        policy decide what is drawn in the last of them; None draws nothing."""
        self.tokens += tokens
        self.segments.append((table_row, position, len(tokens)))
        if answered is not None:
            self.logit_rows.append(len(self.tokens) - 1)
            self.answered.append(answered)


def draw_steps(  # noqa: PLR0917
    draft: DraftModel,
    pool: CachePool,
    table: NDArray[np.int32],
    team: Team,
    rows: DraftRows,
    times: int,
    least: float,
) -> list[list[Drawn]]:
    """What is drawn in the step with these rows and in `times` that follow it, for each answer.

    It ends sooner when no sequence's tokens together have the chance `least` any more.
    """
    model = draft.stored
    draws = build_draws([AnswerRow(each) for each in rows.answered], 1 + times)
    following = np.empty((times, len(rows.segments)), np.int32) if times else None
    with model.step_lock:
        sampled: NDArray[np.int32] = model.native.step(
            pool,
            team,
            tokens=np.array(rows.tokens, np.int32),
            page_table=table,
            segments=np.array(rows.segments, np.int32),
            layer_begin=0,
            layer_end=model.hyperparameters.layer_count,
            logit_rows=np.array(rows.logit_rows, np.int32),
            **draws.arguments,
            noise_tokens=draft.to_target,
            following=following,
            least_logprob=math.log(least) if least > 0.0 else -math.inf,
            features=_joined(rows.features),
        )
    steps: list[list[int]] = [sampled.tolist(), *later_draws(following)]
    return [
        [
            Drawn(token, math.exp(draws.logprobs(first + row)[0].logprob) if token >= 0 else 0.0)
            for row, token in enumerate(drawn)
        ]
        for first, drawn in zip(itertools.count(0, len(rows.answered)), steps, strict=False)
    ]


def _joined(features: Items[NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """All parts of each in one row."""
    return np.stack(features).reshape(len(features), -1) if features else None


def draft_policy(want: SamplingParameters) -> SamplingParameters:
    """How a draft draws what its target draws under `want`: it has other tokens, and does not know
    what was said before."""
    return replace(
        want,
        logit_bias=(),
        logprobs=0,
        repetition_penalty=1.0,
        presence_penalty=0.0,
        frequency_penalty=0.0,
    )
