"""One planned step of one model: the native call, and what its answers change."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Items
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm.engine.batch import Batch, build_batch
from realm.engine.drafted_steps import DraftedCall, DraftedLimits, open_drafted_call
from realm.engine.drafting import Guesses, keep_ahead, settle_guess, settle_rows
from realm.engine.draws import draw_error, later_draws
from realm.engine.fairness import OwnerLedger
from realm.engine.feature_drafts import FeatureDrafts
from realm.engine.features import kept_layers, wants_feature
from realm.engine.output import StepOutput, TokenLogprobs
from realm.engine.scheduler import StepPlan
from realm.engine.sequence import Feature, Sequence, Want
from realm.engine.speculation import Source
from realm.errors import CapacityError, RealmError
from realm.kernels import Interrupt, Team

if TYPE_CHECKING:
    from realm.engine.model_state import ModelState


class Machine(NamedTuple):
    """What computes. clock: seconds. interrupt: set when no further step is to begin."""

    team: Team
    clock: Callable[[], float]
    interrupt: Interrupt


class StepsRun(NamedTuple):
    """outputs: the answers that are complete. seconds: of the native call.

    step_count: the planned step and those that followed it. drafted: tokens that were verified.
    accepted: those of them that were right.
    """

    outputs: list[StepOutput]
    seconds: float
    step_count: int
    drafted: int
    accepted: int


def run_step(  # noqa: PLR0917
    state: ModelState,
    plan: StepPlan,
    guesses: Guesses,
    further: int,
    machine: Machine,
    ledger: OwnerLedger,
) -> StepsRun:
    """Computes the plan, and so many steps more that follow it (see `joining`)."""
    batch = build_batch(plan, state.sequences, guesses.by_sequence)
    following = np.empty((further, len(batch.tokens)), np.int32) if further else None
    # A draft model that has not paid lately needs none, until it is asked again.
    may_be_asked = guesses.asked is not None or not plan.decodes
    layers = kept_layers([each for each, _ in batch.answered], may_be_asked)
    features = None if layers is None else _feature_rows(state, batch, further, layers)
    begin = machine.clock()
    sampled, logits = _compute(state, machine, batch, following, features, layers or ())
    seconds = machine.clock() - begin
    later = later_draws(following)
    step_count = 1 + len(later)
    price = _observe(state, plan, ledger, batch, seconds / step_count)
    for row in plan.rows:
        state.computed(state.sequences[row.sequence], row.count, price)
    outputs, accepted = [], 0
    for each, first in batch.answered:
        guess = guesses.by_sequence.get(each.number)
        last = first + len(later) * len(batch.answered)
        if guess is not None:
            rows = range(first, first + 1 + len(guess.token_ids))
            right = settle_guess(
                each,
                guess,
                [sampled[row] for row in rows],
                [batch.draws.logprobs(row) for row in rows],
            )
            accepted += right
            last += right
        each.steady_count += 1
        if later:
            keep_ahead(each, [row[first] for row in later])
        if features is not None and layers is not None and wants_feature(each):
            each.feature = Feature(len(each.tokens) + len(each.ahead), layers, features[last])
        outputs.append(
            answer(state, each, sampled[first], batch.draws.logprobs(first), logits.get(first))
        )
    return StepsRun(outputs, seconds, step_count, guesses.token_count, accepted)


def run_drafted_steps(  # noqa: PLR0917
    state: ModelState,
    plan: StepPlan,
    guesses: Guesses,
    limits: DraftedLimits,
    machine: Machine,
    ledger: OwnerLedger,
) -> StepsRun:
    """Computes the plan, all of which decodes, and steps that follow it, each with its drafts."""
    batch = build_batch(plan, state.sequences, guesses.by_sequence)
    sequences = [each for each, _ in batch.answered]
    drafter, draft = None, None
    layers = kept_layers(sequences, True) or ()
    if guesses.asked is not None:
        drafter, expected, most, least = guesses.asked
        try:
            draft = drafter.rows_for(sequences, expected, min(most, limits.width), least, layers)
        except RealmError as error:
            drafter.fail(error)
            return run_step(state, plan, guesses, 0, machine, ledger)
    drafted = open_drafted_call(
        sequences,
        draft,
        (1 + len(layers), state.model.hyperparameters.hidden_size),
        limits,
    )
    begin = machine.clock()
    with drafter.draft.stored.step_lock if drafter else nullcontext():
        sampled, _ = _compute(state, machine, batch, layers=layers, drafted=drafted)
    seconds = machine.clock() - begin
    steps = drafted.steps()
    row_counts = [len(batch.tokens), *(sum(len(each.sampled) for each in rows) for rows in steps)]
    _observe_drafted(state, row_counts, drafter, drafted, seconds)
    left_over = drafted.left_over()
    outputs, accepted = [], 0
    for index, (each, first) in enumerate(batch.answered):
        state.computed(each, 1)
        guess = guesses.by_sequence.get(each.number)
        if guess is not None:
            drawn = sampled[first : first + 1 + len(guess.token_ids)]
            accepted += settle_guess(each, guess, drawn, [()] * len(drawn))
        for rows in steps:
            accepted += settle_rows(each, rows[index])
        each.steady_count += 1
        if wants_feature(each):
            known = len(each.tokens) + len(each.ahead)
            each.feature = Feature(known, layers, drafted.features[index])
        behind = left_over[index] if left_over else None
        if drafter is not None and behind is not None and behind.source is Source.MODEL:
            drafter.keep(each, behind)
        outputs.append(answer(state, each, sampled[first], ()))
    verified = sum(row_counts) - len(row_counts) * len(sequences)
    return StepsRun(outputs, seconds, len(row_counts), verified, accepted)


def answer_known(state: ModelState, sequence: Sequence) -> StepOutput:
    """The answer that an earlier step has brought already; the sequence is one of `state.ready`."""
    known = sequence.ahead.pop(0)
    sequence.steady_count += 1
    state.computed(sequence, 1)
    return answer(state, sequence, known.token, known.logprobs)


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


def _feature_rows(
    state: ModelState, batch: Batch, further: int, layers: Items[int]
) -> NDArray[np.float32]:
    """Room for what the head and these layers multiply in each row that gives logits, and in
    further steps: [rows, parts, hidden]."""
    rows = len(batch.logit_rows) * (1 + further)
    return np.empty((rows, 1 + len(layers), state.model.hyperparameters.hidden_size), np.float32)


def _compute(  # noqa: PLR0917
    state: ModelState,
    machine: Machine,
    batch: Batch,
    following: NDArray[np.int32] | None = None,
    features: NDArray[np.float32] | None = None,
    layers: Items[int] = (),
    drafted: DraftedCall | None = None,
) -> tuple[list[int], dict[int, NDArray[np.float32]]]:
    """What was drawn in each row that gives logits, and the logits of those that asked for them.

    following: int32 [steps, rows]: gets what was drawn in each further step, NO_TOKEN if none came.
    features: see `_feature_rows`; of these layers. drafted: other further steps.
    """
    native = state.model.native
    with state.model.step_lock:
        sampled = native.step(
            state.cache.pool,
            machine.team,
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
            following=following,
            last_tokens=state.last_tokens,
            interrupt=machine.interrupt,
            features_out=None if features is None else features.reshape(len(features), -1),
            feature_layers=layers,
            drafted=None if drafted is None else drafted.native,
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


def _observe_drafted(
    state: ModelState,
    row_counts: Items[int],
    drafter: FeatureDrafts | None,
    drafted: DraftedCall,
    seconds: float,
) -> None:
    """Learns from the time of several steps with so many rows, and of the draft's between them.

    seconds: of the call, by the clock that everything else is measured with; each had its share.
    """
    *durations, drafting = drafted.durations.tolist()
    ratio = seconds / (sum(durations) + drafting)
    if drafter is not None and drafted.draft_steps:
        drafter.observe(drafting * ratio / drafted.draft_steps)
    for rows, each in zip(row_counts, durations, strict=False):
        state.cost.observe(rows, rows, each * ratio)
        state.row_cost.observe(rows, each * ratio)
