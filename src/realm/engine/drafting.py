"""Drafts of one step: who has one, how much of each is verified, and what came of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from realm.config import SamplingParameters, SpeculativeConfig
from realm.engine.output import TokenLogprobs
from realm.engine.scheduler import StepPlan
from realm.engine.sequence import Mask, Sequence, TokenAhead
from realm.engine.speculation import Draft, DraftCandidate, DraftLimits, plan_drafts
from realm.errors import ConstraintError

if TYPE_CHECKING:
    from collections.abc import Sequence as Items

    from realm.engine.model_state import ModelState


class Guess(NamedTuple):
    """What a sequence may go on with.

    token_ids: the first tokens of the draft, which are rows of the step; none when it is left out.
    masks: what may be drawn after each of token_ids.
    """

    draft: Draft
    token_ids: tuple[int, ...] = ()
    masks: tuple[Mask | None, ...] = ()


def plan_guesses(
    state: ModelState, plan: StepPlan, config: SpeculativeConfig, most_rows: int
) -> dict[int, Guess]:
    """The drafts of the sequences that decode in this step, also of those that are left out.

    most_rows: of the step. Gives those that are verified the cache pages they need.
    """
    if not config.enabled:
        return {}
    decoding = [state.sequences[row.sequence] for row in plan.rows if row.decodes]
    drafts: dict[int, Draft] = {}
    for each in decoding:
        draft = _propose(state, each)
        if draft is not None:
            drafts[each.number] = draft
    if not drafts:
        return {}
    row_count = plan.token_count
    counts = plan_drafts(
        [_candidate(state.sequences[number], draft) for number, draft in drafts.items()],
        state.row_cost.seconds,
        DraftLimits(min(config.max_draft_tokens, most_rows - row_count)),
        decode_rows=len(decoding),
        prompt_rows=row_count - len(decoding),
        owners=Counter(each.owner for each in decoding),
    )
    return {
        number: _guess(state, state.sequences[number], draft, counts.get(number, 0))
        for number, draft in drafts.items()
    }


def settle_guess(
    sequence: Sequence,
    guess: Guess,
    sampled: Items[int],
    logprobs: Items[tuple[TokenLogprobs, ...]],
) -> None:
    """Learn from what the target drew; what is right stays ahead of the sequence.

    sampled, logprobs: of the sequence's own last row, then of the drafted ones.
    """
    if sequence.speculation is None or sampled[0] < 0:
        return
    accepted = sequence.speculation.settle(guess.draft, len(guess.token_ids), sampled)
    if not accepted or not isinstance(sequence.want, SamplingParameters):
        return
    sequence.ahead_sampling = sequence.want
    for token, found, mask in zip(
        sampled[1 : accepted + 1], logprobs[1 : accepted + 1], guess.masks, strict=False
    ):
        if token < 0:
            break
        sequence.ahead.append(TokenAhead(token, found, mask))


def _propose(state: ModelState, sequence: Sequence) -> Draft | None:
    speculation = sequence.speculation
    if speculation is None or not isinstance(sequence.want, SamplingParameters):
        return None
    if sequence.allowed is not None and sequence.masks_after is None:
        return None
    room = state.cache.context_length - len(sequence.tokens) - 1
    return speculation.propose(sequence.tokens, room)


def _candidate(sequence: Sequence, draft: Draft) -> DraftCandidate:
    assert sequence.speculation is not None
    return DraftCandidate(sequence.number, sequence.speculation.survivals(draft), sequence.owner)


def _guess(state: ModelState, sequence: Sequence, draft: Draft, count: int) -> Guess:
    token_ids = draft.token_ids[:count]
    masks: tuple[Mask | None, ...] = (None,) * count
    if token_ids and sequence.allowed is not None:
        masks = _masks(sequence, token_ids)
        token_ids = token_ids[: len(masks)]
    if token_ids and not state.cache.reserve(sequence, len(sequence.tokens) + len(token_ids)):
        return Guess(draft)
    return Guess(draft, token_ids, masks)


def _masks(sequence: Sequence, token_ids: tuple[int, ...]) -> tuple[Mask | None, ...]:
    assert sequence.masks_after is not None
    try:
        return tuple(sequence.masks_after(token_ids))
    except ConstraintError:
        return ()  # whoever asks for that token meets the error
