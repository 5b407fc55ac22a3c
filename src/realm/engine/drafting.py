"""Drafts of one step: who has one, how much of each is verified, and what came of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from realm.config import SamplingParameters, SpeculativeConfig
from realm.engine.drafted_steps import DraftedRows
from realm.engine.drafter import Drafter, DraftWish
from realm.engine.feature_drafts import FeatureDrafts
from realm.engine.output import TokenLogprobs
from realm.engine.scheduler import StepPlan
from realm.engine.sequence import Mask, Sequence, TokenAhead
from realm.engine.speculation import (
    LEAST_GAIN,
    Draft,
    DraftCandidate,
    DraftLimits,
    SequenceSpeculation,
    plan_drafts,
)
from realm.errors import ConstraintError

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Sequence as Items

    from realm.engine.model_state import ModelState

# Where a token has to be as likely as this, and none was, the next steps do without looking.
_DEMANDING, _PAUSE = 0.5, 4
_LEAST_CHANCE, _MOST_CHANCE = 0.05, 0.9  # of the last token that a draft model is asked for


class Guess(NamedTuple):
    """What a sequence may go on with.

    token_ids: the first tokens of the draft, which are rows of the step; none when it is left out.
    masks: what may be drawn after each of token_ids.
    """

    draft: Draft
    token_ids: tuple[int, ...] = ()
    masks: tuple[Mask | None, ...] = ()


class Asked(NamedTuple):
    """A draft model that reads features, which is likely to pay. expected: tokens that it is likely
    to bring, by sequence.

    most: tokens of a draft. least: the chance below which no token is drafted.
    """

    drafter: FeatureDrafts
    expected: Mapping[int, float]
    most: int
    least: float


class Guesses(NamedTuple):
    """by_sequence: also those that are left out. asked: None where no such model is likely to pay.

    least: the chance of a first token below which no draft from texts pays; 1 where none is looked
    for.
    """

    by_sequence: Mapping[int, Guess] = MappingProxyType({})
    asked: Asked | None = None
    least: float = 1.0

    @property
    def token_count(self) -> int:
        """How many tokens are verified."""
        return sum(len(each.token_ids) for each in self.by_sequence.values())


def plan_guesses(
    state: ModelState,
    plan: StepPlan,
    config: SpeculativeConfig,
    most_rows: int,
    least_gain: float = LEAST_GAIN,
) -> Guesses:
    """The drafts of the sequences that decode in this step.

    most_rows: of the step. least_gain: what they must bring, see `DraftLimits`. Gives those that
    are verified the cache pages they need.
    """
    if not config.enabled or state.step_count < state.undrafted_until:
        return Guesses()
    decoding = [state.sequences[row.sequence] for row in plan.rows if row.decodes]
    prompt_rows = plan.token_count - len(decoding)
    decoding = [each for each in decoding if each.owner not in plan.cut]
    if not any(each.speculation for each in decoding):
        return Guesses()
    limits = DraftLimits(min(config.max_draft_tokens, most_rows - plan.token_count), least_gain)
    drafting = _Drafting(state, decoding, prompt_rows, limits)
    drafts = drafting.drafts()
    counts = drafting.choose(
        {n: each.survivals for n, each in drafts.items() if each.survivals[0] >= drafting.least}
    )
    guesses = {
        number: _guess(state, state.sequences[number], each.draft, counts.get(number, 0))
        for number, each in drafts.items()
    }
    if drafting.least >= _DEMANDING and not counts and not drafting.asked:
        state.undrafted_until = state.step_count + _PAUSE
    return Guesses(guesses, drafting.asked, min(max(drafting.least, 0.0), 1.0))


def settle_guess(
    sequence: Sequence,
    guess: Guess,
    sampled: Items[int],
    logprobs: Items[tuple[TokenLogprobs, ...]],
) -> int:
    """Learn from what the target drew; what is right stays ahead of the sequence. How many are.

    sampled, logprobs: of the sequence's own last row, then of the drafted ones.
    """
    if sequence.speculation is None or sampled[0] < 0:
        return 0
    accepted = sequence.speculation.settle(guess.draft, len(guess.token_ids), sampled)
    if not accepted or not isinstance(sequence.want, SamplingParameters):
        return 0
    sequence.ahead_sampling = sequence.want
    for token, found, mask in zip(
        sampled[1 : accepted + 1], logprobs[1 : accepted + 1], guess.masks, strict=False
    ):
        if token < 0:
            break
        sequence.ahead.append(TokenAhead(token, found, mask))
    return accepted


def settle_rows(sequence: Sequence, rows: DraftedRows) -> int:
    """The same for a step that followed another one at once: all that is right stays ahead."""
    accepted = 0
    if sequence.speculation is not None and rows.draft is not None and rows.sampled[0] >= 0:
        verified = len(rows.sampled) - 1
        accepted = sequence.speculation.settle(rows.draft, verified, rows.sampled)
    keep_ahead(sequence, rows.sampled[: accepted + 1])
    return accepted


def keep_ahead(sequence: Sequence, tokens: Items[int]) -> None:
    """What further steps drew for it, without masks, stands ahead of it."""
    assert isinstance(sequence.want, SamplingParameters)
    sequence.ahead_sampling = sequence.want
    for token in tokens:
        if token < 0:
            return  # whoever asks for it meets the error
        sequence.ahead.append(TokenAhead(token, (), None))


@dataclass(frozen=True, slots=True)
class _Candidate:
    draft: Draft
    survivals: tuple[float, ...]

    @property
    def expected(self) -> float:
        return sum(self.survivals)


class _Drafting:
    """One step's drafts. decoding: the sequences that get a token in it anyway.

    least: the chance of a draft's first token below which the draft cannot pay. asked: see
    `Guesses`.
    """

    def __init__(
        self,
        state: ModelState,
        decoding: Items[Sequence],
        prompt_rows: int,
        limits: DraftLimits,
    ) -> None:
        self._state = state
        self._decoding = decoding
        self._prompt_rows = prompt_rows
        self._limits = limits
        self.asked: Asked | None = None
        self.least = state.row_cost.least_chance(len(decoding) + prompt_rows, limits)

    def drafts(self) -> dict[int, _Candidate]:
        """The better one of each sequence: from texts, or from its draft model."""
        found: dict[int, _Candidate] = {}
        wanting: dict[Drafter, list[tuple[Sequence, SequenceSpeculation]]] = {}
        for sequence in self._decoding:
            speculation = sequence.speculation
            if speculation is None or not _can_be_verified(sequence):
                continue
            draft = speculation.propose(sequence.tokens, self._room(sequence), self.least)
            if draft is not None:
                found[sequence.number] = _Candidate(draft, speculation.survivals(draft))
            if sequence.drafter is None or not sequence.drafter.is_alive:
                continue
            if speculation.gate.chance < self.least:
                speculation.gate.rest()  # it could not pay even if it took no time
            else:
                wanting.setdefault(sequence.drafter, []).append((sequence, speculation))
        for drafter, group in wanting.items():
            for number, drafted in self._ask(drafter, group, found).items():
                if number not in found or drafted.expected > found[number].expected:
                    found[number] = drafted
        return found

    def choose(
        self,
        survivals: Mapping[int, tuple[float, ...]],
        seconds: Callable[[int], float] | None = None,
    ) -> Mapping[int, int]:
        """How many tokens of each sequence's draft pay. seconds: of a step with so many rows."""
        return plan_drafts(
            [
                DraftCandidate(number, each, self._state.sequences[number].owner)
                for number, each in survivals.items()
            ],
            seconds or self._state.row_cost.seconds,
            self._limits,
            decode_rows=len(self._decoding),
            prompt_rows=self._prompt_rows,
            owners=Counter(each.owner for each in self._decoding),
        )

    def _ask(
        self,
        drafter: Drafter,
        group: list[tuple[Sequence, SequenceSpeculation]],
        texts: Mapping[int, _Candidate],
    ) -> dict[int, _Candidate]:
        """Drafts of a model, of those sequences where it is likely to bring more than its time."""
        step = self._state.row_cost.seconds
        rows = len(self._decoding) + self._prompt_rows
        is_native = not self._prompt_rows and all(each.draws_alone for each in self._decoding)
        turn = (drafter.native_seconds if is_native else 0.0) or drafter.seconds
        turn = turn or step(1) * drafter.relative_cost

        def seconds(count: int) -> float:
            return step(count) + turn * math.ceil((count - rows) / len(group))

        likely = {
            sequence.number: speculation.gate.survivals(self._room(sequence))
            for sequence, speculation in group
        }
        pays = self.choose({number: each for number, each in likely.items() if each}, seconds)
        expected = {number: sum(likely[number]) for number in pays}
        wishes = []
        for sequence, speculation in group:
            number = sequence.number
            if number in pays and (
                number not in texts or expected[number] > texts[number].expected
            ):
                wishes.append(DraftWish(sequence, self._room(sequence), speculation.model_chance))
            elif number not in pays:
                speculation.gate.rest()
        if not pays:
            return {}
        longer = step(rows + 1) - step(rows) + turn / len(pays)
        least = min(max(longer * len(self._decoding) / step(rows), _LEAST_CHANCE), _MOST_CHANCE)
        drafts = drafter.propose(wishes, least) if wishes else {}
        if isinstance(drafter, FeatureDrafts) and drafter.is_alive:
            most = min(len(likely[number]) for number in pays)
            self.asked = Asked(drafter, expected, most, least)
        return {
            sequence.number: _Candidate(draft, speculation.survivals(draft))
            for sequence, speculation in group
            if (draft := drafts.get(sequence.number)) is not None
        }

    def _room(self, sequence: Sequence) -> int:
        """Most tokens of a draft."""
        assert sequence.speculation is not None
        left = self._state.cache.context_length - len(sequence.tokens) - 1
        return min(left, sequence.speculation.draft_k)


def _can_be_verified(sequence: Sequence) -> bool:
    if not isinstance(sequence.want, SamplingParameters):
        return False
    return sequence.allowed is None or sequence.masks_after is not None


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
