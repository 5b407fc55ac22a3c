"""How many tokens of which draft the next step verifies: a pure function on plain data.

Every verified token is one more row of the step. The tokens of all drafts stand in one line, the
likeliest first, and the step takes as many from its beginning as bring the most tokens a second
(`native/core/draft_plan.cpp`, which steps that follow at once plan with as well).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from realm import kernels

LEAST_GAIN = 1.02  # for the work beside a step
LEAST_SHARE = 0.9  # of an owner's tokens a second, whatever the drafts of others bring


class DraftCandidate(NamedTuple):
    """A sequence that decodes and has a draft.

    survivals: of each drafted token the chance that it and all before it are accepted; one at
    least, and they never increase. Only as many as may be verified: by the sequence's limits, its
    context and its pages. owner: who gets the tokens.
    """

    sequence: int
    survivals: tuple[float, ...]
    owner: str = ""


@dataclass(frozen=True, slots=True)
class DraftLimits:
    """rows: most drafted tokens of a step. least_gain: what drafting must bring over not drafting,
    as a ratio of tokens a second, to pay for the work beside the step. least_share: what every
    owner keeps of its tokens a second, however much the drafts of others bring them.
    """

    rows: int = 64
    least_gain: float = LEAST_GAIN
    least_share: float = LEAST_SHARE


def plan_drafts(
    candidates: Sequence[DraftCandidate],
    seconds: Callable[[int], float],
    limits: DraftLimits,
    *,
    decode_rows: int,
    prompt_rows: int = 0,
    owners: Mapping[str, int] | None = None,
) -> Mapping[int, int]:
    """How many drafted tokens of each sequence to verify; sequences with none are left out.

    seconds: of a step with so many rows, `RowCost.seconds`. decode_rows: sequences that get a token
    in this step anyway, candidates or not. prompt_rows: rows of prompts in the same step. owners:
    decode rows of each owner; None when all are of one.

    A prompt's row is worth a decoded token: it takes as long and has to be computed anyway. If it
    were worth less, tokens drafted beside prompts would seem to pay when they only make the step
    longer.

    Takes the beginning of the line that maximises (what the step brings) / (its seconds), among
    those that leave every owner its share; of equal ones the shortest. It never returns a plan that
    brings less than none would.
    """
    if not candidates:
        return {}
    rows = decode_rows + prompt_rows
    most = min(limits.rows, sum(len(each.survivals) for each in candidates))
    names = list(owners) if owners and len(owners) > 1 else []
    counts = kernels.plan_drafts(
        [each.survivals for each in candidates],
        owners=[names.index(each.owner) if names else 0 for each in candidates],
        owner_rows=[owners[each] for each in names] if owners else [],
        seconds=[seconds(rows + n) for n in range(max(most, 0) + 1)],
        worth=rows,
        least_gain=limits.least_gain,
        least_share=limits.least_share,
    )
    return {each.sequence: n for each, n in zip(candidates, counts, strict=True) if n}
