"""How many steps one native call computes: decode rows alone, each with what it drew just before.

Most of what a short step costs beside the native core is paid once for all of them. Drafts from
texts, and of a model that reads features, are made between them as well. What the further ones draw
stands ahead of its sequence, as drafted tokens that were right do: whoever goes on in another way
loses them, and no text changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from realm.config import EngineConfig
from realm.engine.drafted_steps import DraftedLimits

if TYPE_CHECKING:
    from realm.engine.drafting import Guesses
    from realm.engine.model_state import ModelState
    from realm.engine.scheduler import StepPlan
    from realm.engine.sequence import Sequence

MOST_STEPS = 8
STEADY_TOKENS = 8  # a sequence that drew so many in the same way will go on so
JOINED_GAIN = 1.04  # what it brings without drafts: a ratio of tokens a second


def further_steps(state: ModelState, plan: StepPlan, most_seconds: float) -> int:
    """How many steps may follow the planned one at once.

    most_seconds: of all of them; nobody else is served meanwhile.
    """
    count = int(most_seconds / state.row_cost.seconds(max(1, len(plan.rows))))
    count = min(MOST_STEPS, plan.steps, count) - 1
    for row in plan.rows:
        if count < 1:
            return 0
        sequence = state.sequences[row.sequence]
        count = min(count, _further_tokens(sequence, state.cache.context_length))
    return max(count, 0)


def plan_drafted_steps(  # noqa: PLR0917
    state: ModelState,
    plan: StepPlan,
    guesses: Guesses,
    further: int,
    config: EngineConfig,
    are_worth: bool,
) -> DraftedLimits | None:
    """How far the steps may go that follow the planned one in its call, each with drafts of its
    own: of `further` steps as many as there is room for. A draft model drafts behind the last of
    them as well.

    are_worth: drafts have paid lately. None where none is likely to pay now either.
    """
    if not plan.decodes or not (are_worth or guesses.token_count or guesses.asked):
        return None
    sequences = [state.sequences[row.sequence] for row in plan.rows]
    if not any(each.draft_k for each in sequences):
        return None
    if not all(each.more and each.draws_alone for each in sequences):
        return None
    rows, limits = len(sequences), config.speculation
    most = min(limits.max_draft_tokens, config.step_tokens - rows)
    width = max(min(most, max(each.draft_k for each in sequences)), 1)
    most_seconds = config.joined_seconds - state.row_cost.seconds(rows + guesses.token_count)
    longest = max(len(each.tokens) for each in sequences) + guesses.token_count
    further = min(further, (state.cache.context_length - longest) // (1 + width))
    if most_seconds < state.row_cost.seconds(rows):
        further = 0

    def is_room(count: int) -> bool:
        return all(_reserve(state, each, guesses, count, width) for each in sequences)

    further = _reserved(further, is_room)
    if not further and not guesses.asked:
        return None
    most = min(most, sum(min(each.draft_k, width) for each in sequences))
    seconds = state.row_cost.table(rows, most)
    demand = state.payback.demand
    return DraftedLimits(further, width, guesses.least, demand, seconds, max(most_seconds, 0.0))


def reserve_pages(state: ModelState, plan: StepPlan, further: int) -> int:
    """For how many further tokens each the plan's sequences have the pages: so many, half of it,
    a quarter, ..., none."""
    sequences = [state.sequences[row.sequence] for row in plan.rows]

    def is_room(count: int) -> bool:
        return all(state.cache.reserve(each, len(each.tokens) + count) for each in sequences)

    return _reserved(further, is_room)


def _reserved(further: int, is_room: Callable[[int], bool]) -> int:
    while further > 0 and not is_room(further):
        further //= 2
    return max(further, 0)


def _reserve(
    state: ModelState, sequence: Sequence, guesses: Guesses, further: int, width: int
) -> bool:
    """Whether it has the pages for its rows of the planned step and of those that follow."""
    guess = guesses.by_sequence.get(sequence.number)
    drafted = 0 if guess is None else len(guess.token_ids)
    rows = drafted + further * (1 + min(sequence.draft_k, width))
    return state.cache.reserve(sequence, len(sequence.tokens) + rows)


def _further_tokens(sequence: Sequence, context_length: int) -> int:
    """How many more are sure to be asked for, as far as anyone knows. With the one before them half
    of what it drew till now: whoever then goes on in another way has not wasted more."""
    if sequence.steady_count < STEADY_TOKENS or not sequence.draws_alone:
        return 0
    known = sequence.steady_count // 2 - 1
    return min(sequence.more, known, context_length - len(sequence.tokens) - 1)
