"""How many steps one native call computes: decode rows alone, each with what it drew just before.

Most of what a short step costs beside the native core is paid once for all of them. Where a draft
model drafts from features, it does so between them as well. What the further ones draw stands ahead
of its sequence, as drafted tokens that were right do: whoever goes on in another way loses them,
and no text changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.config import EngineConfig
from realm.engine.drafted_steps import DraftedLimits
from realm.engine.feature_drafts import MOST_DRAFTED, FeatureDrafts
from realm.engine.speculation import LEAST_SHARE, RowCost

if TYPE_CHECKING:
    from realm.engine.drafting import Guesses
    from realm.engine.model_state import ModelState
    from realm.engine.scheduler import StepPlan
    from realm.engine.sequence import Sequence

MOST_STEPS = 4
_COPIED = 0.1  # accepted tokens of a step: from a text that repeats so much, drafts are longer
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


def plan_drafted_steps(
    state: ModelState, plan: StepPlan, guesses: Guesses, further: int, config: EngineConfig
) -> tuple[FeatureDrafts, DraftedLimits] | None:
    """What drafts between the steps of a call, and how far: of `further` steps behind the planned
    one as many as may have drafts of their own. It drafts behind the last of them as well.

    None where no draft model is likely to pay for every sequence.
    """
    asked = guesses.asked
    if asked is None or asked.sequences != {row.sequence for row in plan.rows}:
        return None
    sequences = [state.sequences[row.sequence] for row in plan.rows]
    if not all(each.more and each.draws_alone for each in sequences):
        return None
    rows = 1 + min(asked.most, MOST_DRAFTED)
    longest = max(len(each.tokens) for each in sequences) + guesses.token_count
    # As most steps are: a draft of two tokens, one of them likely enough.
    seconds = state.row_cost.seconds(2 * len(sequences))
    seconds += 2.0 * asked.drafter.native_seconds
    further = min(
        further,
        int(config.joined_seconds / seconds) - 1,
        (state.cache.context_length - longest) // rows,
    )
    copied = max(each.speculation.copied for each in sequences if each.speculation)
    pages = guesses.token_count + max(further, 0) * rows
    if further < 1 or copied > _COPIED or not reserve_pages(state, plan, pages):
        further = 0
    most_rows = min(config.speculation.max_draft_tokens, config.step_tokens - len(sequences))
    if len({each.owner for each in sequences}) > 1:
        most_rows = _rows_for_all(state.row_cost, len(sequences), most_rows)
    costs = tuple(state.row_cost.seconds(n * len(sequences)) for n in range(1, 1 + rows))
    return asked.drafter, DraftedLimits(further, rows - 1, most_rows, asked.least, costs)


def _rows_for_all(cost: RowCost, rows: int, most: int) -> int:
    """How many drafted rows leave everyone his share, also who has none of them."""
    longest = cost.seconds(rows) / LEAST_SHARE
    return next((n for n in range(most) if cost.seconds(rows + n + 1) > longest), most)


def reserve_pages(state: ModelState, plan: StepPlan, further: int) -> bool:
    """Whether the plan's sequences have the pages for so many further tokens each."""
    if not further:
        return True
    sequences = [state.sequences[row.sequence] for row in plan.rows]
    return all(state.cache.reserve(each, len(each.tokens) + further) for each in sequences)


def _further_tokens(sequence: Sequence, context_length: int) -> int:
    """How many more are sure to be asked for, as far as anyone knows."""
    if sequence.steady_count < STEADY_TOKENS or not sequence.draws_alone:
        return 0
    return min(sequence.more, context_length - len(sequence.tokens) - 1)
