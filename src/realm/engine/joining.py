"""How many steps one native call computes: decode rows alone, each with what it drew just before.

Most of what a short step costs beside the native core is paid once for all of them. What the
further ones draw stands ahead of its sequence, as drafted tokens that were right do: whoever goes
on in another way loses them, and no text changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.config import SamplingParameters

if TYPE_CHECKING:
    from realm.engine.model_state import ModelState
    from realm.engine.scheduler import StepPlan
    from realm.engine.sequence import Sequence

MOST_STEPS = 4
STEADY_TOKENS = 8  # a sequence that drew so many in the same way will go on so
JOINED_GAIN = 1.04  # what it brings: a ratio of tokens a second


def further_steps(state: ModelState, plan: StepPlan, most_seconds: float) -> int:
    """How many steps may follow the planned one at once, if nothing is drafted in it.

    most_seconds: of all of them; nobody else is served meanwhile.
    """
    if 1.0 + state.payback.worth > JOINED_GAIN:
        return 0
    count = int(most_seconds / state.row_cost.seconds(max(1, len(plan.rows))))
    count = min(MOST_STEPS, plan.steps, count) - 1
    for row in plan.rows:
        if count < 1:
            return 0
        sequence = state.sequences[row.sequence]
        count = min(count, _further_tokens(sequence, state.cache.context_length))
    return max(count, 0)


def reserve_pages(state: ModelState, plan: StepPlan, further: int) -> bool:
    """Whether the plan's sequences have the pages for so many further tokens each."""
    if not further:
        return True
    sequences = [state.sequences[row.sequence] for row in plan.rows]
    return all(state.cache.reserve(each, len(each.tokens) + further) for each in sequences)


def _further_tokens(sequence: Sequence, context_length: int) -> int:
    """How many more are sure to be asked for, as far as anyone knows."""
    want = sequence.want
    if sequence.pending != 1 or sequence.steady_count < STEADY_TOKENS:
        return 0
    if not isinstance(want, SamplingParameters) or want.logprobs is not None:
        return 0
    if sequence.allowed is not None or sequence.masks_after is not None:
        return 0
    return min(sequence.more, context_length - len(sequence.tokens) - 1)
