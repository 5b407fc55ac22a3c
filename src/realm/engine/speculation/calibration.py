"""How likely the next drafted token is accepted, learnt from what became of drafts before.

For each source and grade, discounted counts on top of a prior (the mean of a Beta distribution).
The prior itself is moved by how the source did as a whole, so that on a text where drafts fail no
grade has to fail by itself first. What has not been seen for long goes back to its prior, so that
a source that was given up is tried again. Reads no clock: time is the number of drafts.
"""

from __future__ import annotations

from collections.abc import Sequence

from realm.engine.speculation.draft import GRADE_COUNT, Draft, Source

_PRIOR_WEIGHT = 4.0  # the prior counts as much as so many drafted tokens
_KEPT = 0.98  # of a grade's counts with each of its tokens: about the last 50 count
_TRUST_WEIGHT = 4.0  # the priors are right as they are, says so much of expected acceptance
# Copies are less often right where a text has only begun to repeat itself: so many tokens seem to
# have been wrong already. What is not verified is learnt from as well, so that this costs little.
_DOUBT = 2.0
_REFRESH_DRAFTS = 64  # how often counts go back towards the prior,
_REFRESH_KEPT = 0.9  # and how much of them is left then: half after some 430 drafts

# Of a copied token by the length of the match before it, on the texts of `realm bench speculative`
# with SmolLM2; grade 0,
# a token without any match, never comes.
_MATCH_PRIOR = (0.0, 0.25, 0.55, 0.65, 0.8, 0.8, 0.7, 0.7, 0.85) + (0.9,) * 7 + (0.97,)
_PRIORS = {
    Source.SUFFIX: _MATCH_PRIOR,
    Source.HISTORY: _MATCH_PRIOR,
    Source.MODEL: tuple((grade + 0.5) / GRADE_COUNT for grade in range(GRADE_COUNT)),
}


class Calibration:
    """Chances by source and grade. One for each tenant: what it has learnt is the tenant's."""

    __slots__ = ("_drafts", "_sources")

    def __init__(self) -> None:
        self._sources = {
            source: _SourceChances(_PRIORS[source], 0.0 if source is Source.MODEL else _DOUBT)
            for source in Source
        }
        self._drafts = 0

    def chance(self, source: Source, grade: int) -> float:
        """That a token of this grade is accepted when all of its draft before it were."""
        return self._sources[source].chances[grade]

    def chances(self, source: Source) -> Sequence[float]:
        """The same of every grade; follows what is learnt, and is not to be changed."""
        return self._sources[source].chances

    def survivals(self, draft: Draft) -> tuple[float, ...]:
        """For each token, the chance that it and all before it are accepted; never increases."""
        product, products, chances = 1.0, [], self._sources[draft.source].chances
        for grade in draft.grades:
            product *= chances[grade]
            products.append(product)
        return tuple(products)

    def observe(self, draft: Draft, accepted: int, compared: int) -> None:
        """What became of a draft: of its first `compared` tokens the first `accepted` were right.

        Tokens behind the first wrong one say nothing. Also a draft that was not verified can be
        compared with the tokens that came.
        """
        self._sources[draft.source].observe(draft.grades[: min(accepted + 1, compared)], accepted)
        self._drafts += 1
        if self._drafts % _REFRESH_DRAFTS == 0:
            for each in self._sources.values():
                each.go_back()


class _SourceChances:
    """One source: discounted counts by grade, and of all grades together against their priors."""

    __slots__ = ("_accepted", "_accepted_of_all", "_expected_of_all", "_priors", "_seen", "chances")

    def __init__(self, priors: tuple[float, ...], doubt: float) -> None:
        self._priors = priors
        self._accepted = [0.0] * GRADE_COUNT
        self._seen = [0.0] * GRADE_COUNT
        self._accepted_of_all = 0.0
        self._expected_of_all = doubt
        self.chances = list(priors)
        for grade in range(GRADE_COUNT):
            self._renew(grade, self._trust())

    def observe(self, grades: tuple[int, ...], accepted: int) -> None:
        """Tokens of these grades came; all but the first `accepted` were wrong."""
        for index, grade in enumerate(grades):
            right = index < accepted
            self._accepted[grade] = self._accepted[grade] * _KEPT + right
            self._seen[grade] = self._seen[grade] * _KEPT + 1.0
            self._accepted_of_all = self._accepted_of_all * _KEPT + right
            self._expected_of_all = self._expected_of_all * _KEPT + self._priors[grade]
        trust = self._trust()
        for grade in grades:
            self._renew(grade, trust)

    def go_back(self) -> None:
        """Every count a little towards the prior."""
        self._accepted_of_all *= _REFRESH_KEPT
        self._expected_of_all *= _REFRESH_KEPT
        trust = self._trust()
        for grade in range(GRADE_COUNT):
            self._accepted[grade] *= _REFRESH_KEPT
            self._seen[grade] *= _REFRESH_KEPT
            self._renew(grade, trust)

    def _trust(self) -> float:
        return (_TRUST_WEIGHT + self._accepted_of_all) / (_TRUST_WEIGHT + self._expected_of_all)

    def _renew(self, grade: int, trust: float) -> None:
        prior = self._priors[grade]
        prior = prior * trust if trust <= 1.0 else 1.0 - (1.0 - prior) / trust
        self.chances[grade] = (_PRIOR_WEIGHT * prior + self._accepted[grade]) / (
            _PRIOR_WEIGHT + self._seen[grade]
        )
