"""How far a draft foretells its target: counted at every place of texts that training never saw.

A draft of n tokens at a place is right when each of them is what the target says next. As long as
it is right its tokens are the target's own, so those are what it is computed with.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from realm.kernels import CachePool, Team
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


def foretold(
    draft: DraftModel,
    tokens: NDArray[np.int32],
    output_begin: int,
    features: NDArray[np.floating] | None = None,
) -> NDArray[np.bool_]:
    """Whether the draft's likeliest tokens are the next ones: bool [output, LONGEST].

    Of a draft that begins before each of the output's tokens, token after token, those before it
    being the target's. tokens: the target's, prompt and output. features: [output, parts, hidden],
    what the target's head and the draft's `feature_layers` multiplied to draw each token of the
    output, for a draft that reads that.
    Realm computes it, from the draft's file.
    """
    if draft.stored.hyperparameters.reads_features:
        assert features is not None
        return _foretold_from_features(draft, tokens[output_begin:], features)
    own = draft.tokens_of(tokens[:-1].tolist())
    likeliest = draft.stored.logits(own)[output_begin - 1 :].argmax(1)
    if draft.to_target is not None:
        likeliest = draft.to_target[likeliest]
    right = likeliest == tokens[output_begin:]
    return np.stack([_later(right, ahead) for ahead in range(LONGEST)], 1)


def _foretold_from_features(
    draft: DraftModel, output: NDArray[np.int32], features: NDArray[np.floating]
) -> NDArray[np.bool_]:
    """As `foretold`; nothing foretells the first token of an output, which ends a prompt's step."""
    count, native = len(output), draft.stored.native
    pool, team = CachePool(native, count), Team(draft.stored.threads)
    table = np.arange(count, dtype=np.int32).reshape(count, 1)
    own = np.array(draft.tokens_of(output.tolist()), np.int32)
    state = np.ascontiguousarray(features, np.float32).reshape(count, -1)
    right = np.zeros((count, LONGEST), np.bool_)
    for ahead in range(min(LONGEST, count - 1)):
        rows = count - 1 - ahead  # the draft before output[1], with so many tokens behind it, ..
        following = np.empty((rows, draft.stored.hyperparameters.hidden_size), np.float32)
        native.step(
            pool,
            team,
            tokens=own[ahead : ahead + rows],
            page_table=table,
            segments=np.array([(row, ahead, 1) for row in range(rows)], np.int32),
            layer_begin=0,
            layer_end=draft.stored.hyperparameters.layer_count,
            logit_rows=np.arange(rows, dtype=np.int32),
            features=state[:rows],
            features_out=following,
        )
        likeliest = native.logits(0, rows).argmax(1).astype(np.int32)
        if draft.to_target is not None:
            likeliest = draft.to_target[likeliest]
        right[1 : 1 + rows, ahead] = likeliest == output[1 + ahead :]
        state = following
    return right


def _later(right: NDArray[np.bool_], ahead: int) -> NDArray[np.bool_]:
    """What is so many tokens later; False behind the end."""
    return np.pad(right[ahead:], (0, min(ahead, len(right))))


def count_acceptance(texts: Iterable[NDArray[np.bool_]]) -> Acceptance:
    """From what `foretold` gives for each text."""
    places = 0
    right = np.zeros(LONGEST, np.int64)
    for text in texts:
        places += len(text)
        right += np.logical_and.accumulate(text, 1).sum(0)
    survival = right / max(places, 1)
    return Acceptance(
        places, float(survival[0]), tuple(survival.tolist()), tuple(survival.cumsum().tolist())
    )
