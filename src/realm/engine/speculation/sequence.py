"""One sequence's drafts: propose, then settle with what the target sampled."""

from __future__ import annotations

from collections.abc import Sequence

from realm.engine.speculation.draft import SOURCES, Draft, Source, count_accepted
from realm.engine.speculation.gate import DraftGate
from realm.engine.speculation.tenant import TenantSpeculation
from realm.kernels import SequenceTexts

_LEARNT_FROM = 8  # one draft in so many of those that cannot pay


class SequenceSpeculation:
    """The drafts of one sequence, from its own tokens and its tenant's history.

    In each step: `propose`, verify the first tokens of the draft (or none of them), `settle`.
    """

    __slots__ = ("_copied", "_left_out", "_remembered", "_tenant", "_texts", "draft_k")

    def __init__(self, tenant: TenantSpeculation, draft_k: int | None = None) -> None:
        """draft_k: most tokens of a draft, if that is less than the tenant may have."""
        config = tenant.config
        self._tenant = tenant
        self.draft_k = config.draft_k if draft_k is None else min(draft_k, config.draft_k)
        self._texts = SequenceTexts(config.suffix_tokens, config.suffix, tenant.history.index)
        # Chances by grade, as they are by now.
        self._copied = tenant.calibration.chances(Source.SUFFIX)
        self._remembered = tenant.calibration.chances(Source.HISTORY)
        self._left_out = 0

    def truncate(self, length: int) -> None:
        """The sequence was rewound to its first `length` tokens."""
        self._texts.truncate(length)

    def texts(self, tokens: list[int]) -> SequenceTexts:
        """What native steps copy from. tokens: as `propose` takes them."""
        self._texts.extend(tokens)
        return self._texts

    def propose(self, tokens: list[int], most: int, least: float = 0.0) -> Draft | None:
        """The tokens that may come next, at most so many; None without a guess.

        tokens: the whole sequence, only longer than at the last call, or after `truncate`.
        least: the chance of a first token below which a draft is not even made, but for one in
        some, from which is learnt whether that is still so.
        """
        count = min(most, self.draft_k)
        if count < 1:
            return None
        own, past = self._texts.match(tokens)
        if not own and not past:
            return None
        copied, remembered = self._copied, self._remembered
        if (copied[own] if own else 0.0) < least and (remembered[past] if past else 0.0) < least:
            self._left_out += 1
            if self._left_out % _LEARNT_FROM:
                return None
        found = self._texts.propose(copied, remembered, count)
        return None if found is None else Draft(SOURCES[found[0]], *found[1:])

    def settle(self, draft: Draft, verified: int, sampled: Sequence[int]) -> int:
        """Learn from what the target said; how many drafted tokens were accepted.

        verified: how many of the draft's tokens were rows of the step; 0 when it was left out.
        sampled: what joined the sequence: the accepted tokens and one more, or fewer when the
        sequence ended among them.
        """
        known = min(len(draft), len(sampled))
        right = count_accepted(draft.token_ids[:known], tuple(sampled))
        self._tenant.calibration.observe(draft, right, known)
        if draft.source is Source.MODEL:
            self._tenant.gate.observe(right, known)
        accepted = min(right, verified)
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
    def chances(self) -> tuple[Sequence[float], ...]:
        """That a token is accepted: by source and grade."""
        return tuple(map(self._tenant.calibration.chances, SOURCES))

    def survivals(self, draft: Draft) -> tuple[float, ...]:
        """What `plan_drafts` takes: see `Calibration.survivals`."""
        return self._tenant.calibration.survivals(draft)
