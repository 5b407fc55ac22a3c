"""One sequence's drafts: propose, then settle with what the target sampled."""

from __future__ import annotations

from collections.abc import Sequence

from realm.engine.speculation.draft import GRADE_COUNT, Draft, Source, count_accepted
from realm.engine.speculation.gate import DraftGate
from realm.engine.speculation.suffix import SuffixDraft
from realm.engine.speculation.tenant import TenantSpeculation
from realm.engine.speculation.token_index import MATCH_TOKENS, Match

_LEARNT_FROM = 16  # one draft in so many of those that cannot pay
_DEMANDING = 0.5  # from this least chance on
_PAUSE = 3  # a text without a draft is left alone for so many steps
_COPIED_GAIN = 0.05


class SequenceSpeculation:
    """The drafts of one sequence, from its own tokens and its tenant's history.

    In each step: `propose`, verify the first tokens of the draft (or none of them), `settle`.
    copied: accepted tokens of a draft lately that came from a text, not from a model.
    """

    __slots__ = ("_left_out", "_pause", "_suffix", "_tenant", "copied", "draft_k")

    def __init__(self, tenant: TenantSpeculation, draft_k: int | None = None) -> None:
        """draft_k: most tokens of a draft, if that is less than the tenant may have."""
        config = tenant.config
        self._tenant = tenant
        self.draft_k = config.draft_k if draft_k is None else min(draft_k, config.draft_k)
        self._suffix = SuffixDraft(tenant.config.suffix_tokens)
        self.copied = 0.0
        self._left_out = 0
        self._pause = 0

    def truncate(self, length: int) -> None:
        """The sequence was rewound to its first `length` tokens."""
        self._suffix.truncate(length)

    def propose(self, tokens: Sequence[int], most: int, least: float = 0.0) -> Draft | None:
        """The tokens that may come next, at most so many; None without a guess.

        tokens: the whole sequence, only longer than at the last call, or after `truncate`.
        least: the chance of a first token below which a draft is not even made, but for one in
        some, from which is learnt whether that is still so. Where much is asked of drafts, a text
        that has none is not looked at in every step.
        """
        if self._pause and least >= _DEMANDING:
            self._pause -= 1
            return None
        self._pause = _PAUSE
        count = min(most, self.draft_k)
        if count < 1:
            return None
        history = self._tenant.history
        own = self._match(tokens) if self._tenant.config.suffix else None
        past = None
        if len(history) and (own is None or own.length < MATCH_TOKENS):
            past = history.match(tokens[-MATCH_TOKENS:])
        if own is None and past is None:
            return None
        if max(self._chance(Source.SUFFIX, own), self._chance(Source.HISTORY, past)) < least:
            self._left_out += 1
            if self._left_out % _LEARNT_FROM:
                return None
        drafts = [
            draft
            for draft in (
                None if own is None else self._suffix.copy(own, count),
                None if past is None else history.copy(past, count),
            )
            if draft is not None
        ]
        return max(drafts, key=self._expected, default=None)

    def settle(self, draft: Draft, verified: int, sampled: Sequence[int]) -> int:
        """Learn from what the target said; how many drafted tokens were accepted.

        verified: how many of the draft's tokens were rows of the step; 0 when it was left out.
        sampled: what joined the sequence: the accepted tokens and one more, or fewer when the
        sequence ended among them.
        """
        known = min(len(draft), len(sampled))
        right = count_accepted(draft.token_ids[:known], tuple(sampled))
        self._tenant.calibration.observe(draft, right, known)
        if right:
            self._pause = 0
        if draft.source is Source.MODEL:
            self._tenant.gate.observe(right, known)
        accepted = min(right, verified)
        copied = 0 if draft.source is Source.MODEL else accepted
        self.copied += _COPIED_GAIN * (copied - self.copied)
        if verified:
            self._tenant.counter.count(draft.source, verified, accepted)
        return accepted

    @property
    def gate(self) -> DraftGate:
        """What the tenant knows of drafts of a model."""
        return self._tenant.gate

    def model_chance(self, grade: int) -> float:
        """That a draft model's token of this grade is accepted; see `Calibration.chance`."""
        return self._tenant.calibration.chance(Source.MODEL, grade)

    @property
    def model_chances(self) -> tuple[float, ...]:
        """The same of every grade."""
        return self._tenant.calibration.chances(Source.MODEL)

    def survivals(self, draft: Draft) -> tuple[float, ...]:
        """What `plan_drafts` takes: see `Calibration.survivals`."""
        return self._tenant.calibration.survivals(draft)

    def _match(self, tokens: Sequence[int]) -> Match | None:
        suffix = self._suffix
        known = len(suffix)
        if known < len(tokens):
            suffix.extend(tokens[known:])
        return suffix.match()

    def _chance(self, source: Source, found: Match | None) -> float:
        if found is None:
            return 0.0
        return self._tenant.calibration.chance(source, min(found.length, GRADE_COUNT - 1))

    def _expected(self, draft: Draft) -> float:
        return sum(self._tenant.calibration.survivals(draft))
