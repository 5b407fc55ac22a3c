"""One planned step of one model: the native call, and what its answers change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from realm.engine.batch import Batch, build_batch
from realm.engine.drafting import Guess, settle_guess
from realm.engine.draws import draw_error
from realm.engine.fairness import OwnerLedger
from realm.engine.output import StepOutput, TokenLogprobs
from realm.engine.scheduler import StepPlan
from realm.engine.sequence import Sequence, Want
from realm.errors import CapacityError
from realm.kernels import Team

if TYPE_CHECKING:
    from realm.engine.model_state import ModelState


def run_step(  # noqa: PLR0917
    state: ModelState,
    plan: StepPlan,
    guesses: Mapping[int, Guess],
    team: Team,
    ledger: OwnerLedger,
    clock: Callable[[], float],
) -> tuple[list[StepOutput], float]:
    """The answers that are complete, and the seconds of the native call."""
    batch = build_batch(plan, state.sequences, guesses)
    begin = clock()
    sampled, logits = _compute(state, team, batch)
    seconds = clock() - begin
    price = _observe(state, plan, ledger, batch, seconds)
    for row in plan.rows:
        state.computed(state.sequences[row.sequence], row.count, price)
    outputs = []
    for each, first in batch.answered:
        guess = guesses.get(each.number)
        if guess is not None:
            rows = range(first, first + 1 + len(guess.token_ids))
            settle_guess(
                each,
                guess,
                [sampled[row] for row in rows],
                [batch.draws.logprobs(row) for row in rows],
            )
        outputs.append(
            answer(state, each, sampled[first], batch.draws.logprobs(first), logits.get(first))
        )
    return outputs, seconds


def answer_known(state: ModelState) -> list[StepOutput]:
    """The answers that earlier steps have brought already, with what was drafted and right."""
    outputs = []
    for sequence in list(state.ready.values()):
        known = sequence.ahead.pop(0)
        state.computed(sequence, 1)
        outputs.append(answer(state, sequence, known.token, known.logprobs))
    return outputs


def answer_refused(state: ModelState) -> list[StepOutput]:
    """The answers of those that could never have pages enough."""
    refused, state.refused = state.refused, []
    outputs: list[StepOutput] = []
    for each in refused:
        state.answer(each)
        text = f"{len(each.tokens)} tokens never fit in {state.cache.page_count} cache pages"
        outputs.append(StepOutput(each.number, error=CapacityError(text)))
    return outputs


def answer(
    state: ModelState,
    sequence: Sequence,
    token: int,
    logprobs: tuple[TokenLogprobs, ...],
    logits: NDArray[np.float32] | None = None,
) -> StepOutput:
    """The sequence has its answer: a token, or why there is none; or logits."""
    state.answer(sequence)
    sequence.allowed = sequence.masks_after = None
    if token < 0:
        return StepOutput(sequence.number, logits=logits, error=draw_error(token))
    sequence.tokens.append(token)
    return StepOutput(sequence.number, (token,), logprobs=logprobs)


def _compute(
    state: ModelState, team: Team, batch: Batch
) -> tuple[list[int], dict[int, NDArray[np.float32]]]:
    """What was drawn in each row that gives logits, and the logits of those that asked for them."""
    native = state.model.native
    with state.model.step_lock:
        sampled = native.step(
            state.cache.pool,
            team,
            tokens=batch.tokens,
            page_table=state.cache.table,
            segments=batch.segments,
            layer_begin=0,
            layer_end=state.model.hyperparameters.layer_count,
            logit_rows=batch.logit_rows,
            **batch.draws.arguments,
            adapters=batch.adapters.natives,
            adapter_runs=batch.adapters.runs,
            adapter_weights=batch.adapters.weights,
        ).tolist()
        logits = {
            first: native.logits(first, first + 1)[0]
            for each, first in batch.answered
            if each.want is Want.LOGITS
        }
    return sampled, logits


def _observe(
    state: ModelState, plan: StepPlan, ledger: OwnerLedger, batch: Batch, seconds: float
) -> float:
    """Learns from the step's time; what a prompt row of it costs."""
    rows, answers = len(batch.tokens), len(batch.logit_rows)
    prompt_rows = sum(row.count for row in plan.rows if not row.decodes)
    decode_rows = rows - prompt_rows
    expected = state.cost.cost
    price = ledger.prompt_price(decode_rows, prompt_rows, answers, seconds, expected)
    state.cost.observe(rows, answers, seconds)
    if answers == rows:
        state.row_cost.observe(rows, seconds)
    return price
