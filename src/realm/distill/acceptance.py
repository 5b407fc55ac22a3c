"""How far a draft foretells its target: counted at every place of texts that training never saw.

A draft of n tokens at a place is right when each of them is what the target says next. As long as
it is right it has seen the target's own tokens, so one pass over a text answers for all its places.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from realm.model import DraftModel

LONGEST = 6


@dataclass(frozen=True, slots=True)
class Acceptance:
    """places: of outputs. agreement: share of places whose token the draft foretold.

    survival: of n = 1.. tokens drafted at a place, the share of places where all n are right (those
    past an output's end are wrong); accepted_length: tokens that a draft of k = 1.. brings.
    """

    places: int
    agreement: float
    survival: tuple[float, ...]
    accepted_length: tuple[float, ...]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


def foretold(draft: DraftModel, tokens: NDArray[np.int32], output_begin: int) -> NDArray[np.bool_]:
    """Whether the draft's likeliest token is the next one: bool [output], for the output's tokens.

    tokens: the target's, prompt and output. Realm computes it, from the draft's file.
    """
    own = draft.tokens_of(tokens[:-1].tolist())
    likeliest = draft.stored.logits(own)[output_begin - 1 :].argmax(1)
    if draft.to_target is not None:
        likeliest = draft.to_target[likeliest]
    return np.asarray(likeliest == tokens[output_begin:])


def count_acceptance(texts: Iterable[NDArray[np.bool_]], longest: int = LONGEST) -> Acceptance:
    """From what `foretold` gives for each text."""
    places = 0
    right = np.zeros(longest, np.int64)
    for text in texts:
        places += len(text)
        run = np.ones(len(text), np.bool_)
        for ahead in range(min(longest, len(text))):
            run = run[: len(text) - ahead] & text[ahead:]
            right[ahead] += int(run.sum())
    survival = right / max(places, 1)
    return Acceptance(
        places, float(survival[0]), tuple(survival.tolist()), tuple(survival.cumsum().tolist())
    )
