"""One sequence's drafts: propose, then settle with what the target sampled."""

from __future__ import annotations

from collections.abc import Sequence

from realm.engine.speculation.draft import Draft, Source, count_accepted
from realm.engine.speculation.gate import DraftGate
from realm.engine.speculation.suffix import SuffixDraft
from realm.engine.speculation.tenant import TenantSpeculation
from realm.engine.speculation.token_index import MATCH_TOKENS


class SequenceSpeculation:
    """The drafts of one sequence, from its own tokens and its tenant's history.

    In each step: `propose`, verify the first tokens of the draft (or none of them), `settle`.
    """

    __slots__ = ("_suffix", "_tenant", "draft_k")

    def __init__(self, tenant: TenantSpeculation, draft_k: int | None = None) -> None:
        """draft_k: most tokens of a draft, if that is less than the tenant may have."""
        config = tenant.config
        self._tenant = tenant
        self.draft_k = config.draft_k if draft_k is None else min(draft_k, config.draft_k)
        self._suffix = SuffixDraft(tenant.config.suffix_tokens)

    def truncate(self, length: int) -> None:
        """The sequence was rewound to its first `length` tokens."""
        self._suffix.truncate(length)

    def propose(self, tokens: Sequence[int], most: int) -> Draft | None:
        """The tokens that may come next, at most so many; None without a guess.

        tokens: the whole sequence, only longer than at the last call, or after `truncate`.
        """
        count = min(most, self.draft_k)
        if count < 1:
            return None
        own = self._own(tokens, count) if self._tenant.config.suffix else None
        if not len(self._tenant.history) or (own is not None and own.grades[0] >= MATCH_TOKENS):
            return own
        past = self._tenant.history.propose(tokens[-MATCH_TOKENS:], count)
        if own is None or past is None:
            return own or past
        return max(own, past, key=self._expected)

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

    def survivals(self, draft: Draft) -> tuple[float, ...]:
        """What `plan_drafts` takes: see `Calibration.survivals`."""
        return self._tenant.calibration.survivals(draft)

    def _own(self, tokens: Sequence[int], count: int) -> Draft | None:
        suffix = self._suffix
        known = len(suffix)
        if known < len(tokens):
            suffix.extend(tokens[known:])
        return suffix.propose(count)

    def _expected(self, draft: Draft) -> float:
        return sum(self._tenant.calibration.survivals(draft))
