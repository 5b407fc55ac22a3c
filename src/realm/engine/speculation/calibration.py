"""How likely the next drafted token is accepted, learnt from what became of drafts before.

For each source and grade, discounted counts on top of a prior (a Beta distribution's mean). What
has not been seen for long goes back to the prior, so that a source that was given up is tried
again. Reads no clock: time is the number of drafts.
"""

from __future__ import annotations

from realm.engine.speculation.draft import GRADE_COUNT, Draft, Source

_PRIOR_WEIGHT = 4.0  # the prior counts as much as so many drafted tokens
_KEPT = 0.98  # of a grade's counts with each of its tokens: about the last 50 count
_REFRESH_DRAFTS = 32  # how often counts go back towards the prior,
_REFRESH_KEPT = 0.95  # and how much of them is left then: half after some 430 drafts

# Of a copied token by the length of the match before it, on benchmarks/texts with SmolLM2; grade 0,
# a token without any match, never comes.
_MATCH_PRIOR = (0.0, 0.25, 0.55, 0.65, 0.8, 0.8, 0.7, 0.7, 0.85) + (0.9,) * 7 + (0.97,)
_PRIORS = {
    Source.SUFFIX: _MATCH_PRIOR,
    Source.HISTORY: _MATCH_PRIOR,
    Source.MODEL: tuple((grade + 0.5) / GRADE_COUNT for grade in range(GRADE_COUNT)),
}


class Calibration:
    """Chances by source and grade. One for each tenant: what it has learnt is the tenant's."""

    __slots__ = ("_accepted", "_chances", "_drafts", "_seen")

    def __init__(self) -> None:
        self._accepted = {source: [0.0] * GRADE_COUNT for source in Source}
        self._seen = {source: [0.0] * GRADE_COUNT for source in Source}
        self._chances = {source: list(_PRIORS[source]) for source in Source}
        self._drafts = 0

    def chance(self, source: Source, grade: int) -> float:
        """That a token of this grade is accepted when all of its draft before it were."""
        return self._chances[source][grade]

    def survival(self, draft: Draft, depth: int) -> float:
        """That the draft's first `depth` tokens are all accepted; 1 for depth 0."""
        product = 1.0
        for grade in draft.grades[:depth]:
            product *= self._chances[draft.source][grade]
        return product

    def survivals(self, draft: Draft) -> tuple[float, ...]:
        """For each token, the chance that it and all before it are accepted; never increases."""
        product, products, chances = 1.0, [], self._chances[draft.source]
        for grade in draft.grades:
            product *= chances[grade]
            products.append(product)
        return tuple(products)

    def observe(self, draft: Draft, accepted: int, compared: int) -> None:
        """What became of a draft: of its first `compared` tokens the first `accepted` were right.

        Tokens behind the first wrong one say nothing. Also a draft that was not verified can be
        compared with the tokens that came.
        """
        accepted_counts, seen = self._accepted[draft.source], self._seen[draft.source]
        chances, priors = self._chances[draft.source], _PRIORS[draft.source]
        for index, grade in enumerate(draft.grades[: min(accepted + 1, compared)]):
            accepted_counts[grade] = accepted_counts[grade] * _KEPT + (index < accepted)
            seen[grade] = seen[grade] * _KEPT + 1.0
            chances[grade] = _mean(priors[grade], accepted_counts[grade], seen[grade])
        self._drafts += 1
        if self._drafts % _REFRESH_DRAFTS == 0:
            self._go_back()

    def _go_back(self) -> None:
        for source, priors in _PRIORS.items():
            accepted, seen = self._accepted[source], self._seen[source]
            for grade, prior in enumerate(priors):
                accepted[grade] *= _REFRESH_KEPT
                seen[grade] *= _REFRESH_KEPT
                self._chances[source][grade] = _mean(prior, accepted[grade], seen[grade])


def _mean(prior: float, accepted: float, seen: float) -> float:
    return (_PRIOR_WEIGHT * prior + accepted) / (_PRIOR_WEIGHT + seen)
