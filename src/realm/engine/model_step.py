"""One step of one model, from pages to answers: who decides about it, in order."""

from __future__ import annotations

from typing import NamedTuple

from realm.config import EngineConfig
from realm.engine.crowding import Crowding
from realm.engine.drafting import plan_guesses
from realm.engine.fairness import OwnerLedger
from realm.engine.joining import (
    JOINED_GAIN,
    further_steps,
    plan_drafted_steps,
    reserve_pages,
)
from realm.engine.model_state import LastStep, ModelState
from realm.engine.output import StepOutput
from realm.engine.scheduler import StepLimits, plan_step
from realm.engine.speculation import LEAST_GAIN
from realm.engine.step_run import Machine, answer_refused, run_drafted_steps, run_step


class ModelStep(NamedTuple):
    """outputs: the answers that are complete. rows: of the planned step; 0: nothing was computed.

    step_count: it and those that followed it in one call. seconds: of the native call.
    """

    outputs: list[StepOutput]
    rows: int = 0
    step_count: int = 0
    seconds: float = 0.0


def step_model(  # noqa: PLR0917
    state: ModelState,
    ledger: OwnerLedger,
    limits: StepLimits,
    config: EngineConfig,
    machine: Machine,
    is_alone: bool,
) -> ModelStep:
    """is_alone: no other model has work."""
    begin = machine.clock()
    last, state.last_step = state.last_step, None
    if last is not None and is_alone:
        # With the programs' turns behind it: what drafts and joined steps spare is there as well.
        seconds = (begin - last.begin) / last.step_count
        state.payback.observe(last.answers, seconds, last.accepted, last.step_count)
    state.give_pages()
    refused = answer_refused(state)
    plan = plan_step(
        state.candidates(),
        ledger.virtual,
        limits,
        state.cost.cost,
        ledger.weights,
        state.step_count,
        Crowding(state.row_cost.seconds, config.crowding),
    )
    if not plan.rows:
        state.step_count += 1
        return ModelStep(refused)
    further = 0
    if is_alone and not machine.interrupt.is_set:
        further = further_steps(state, plan, config.joined_seconds)
    demand = state.payback.demand
    guesses = plan_guesses(state, plan, config.speculation, limits.rows, LEAST_GAIN * demand)
    # Where drafts bring more than steps without any that are joined, no such step is missed.
    are_worth = guesses.least < 1.0 and 1.0 + state.payback.worth > JOINED_GAIN
    drafted = plan_drafted_steps(state, plan, guesses, further, config, are_worth)
    if drafted is not None:
        ran = run_drafted_steps(state, plan, guesses, drafted, machine, ledger)
    else:
        is_joined = not guesses.token_count and not are_worth
        further = reserve_pages(state, plan, further) if is_joined else 0
        ran = run_step(state, plan, guesses, further, machine, ledger)
    state.step_count += ran.step_count
    if plan.decodes:
        accepted = ran.accepted / ran.step_count if ran.drafted else None
        state.last_step = LastStep(begin, len(plan.rows), ran.step_count, accepted)
    return ModelStep(refused + ran.outputs, plan.token_count, ran.step_count, ran.seconds)
