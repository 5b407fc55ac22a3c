"""What a step gives back to whoever asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realm.errors import RealmError


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """Log probabilities at one position, in nats, under the model's own logits.

    Bias, mask, penalties and temperature do not change them. logprob: of the token that was
    chosen. top: (token id, log probability) of the most likely tokens, the most likely first.
    """

    token_id: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class StepOutput:
    """The answer to one `sample` or `logits` call, or the reason why there is none.

    token_ids: what was sampled; already part of the sequence. logits: float32 [vocabulary].
    logprobs: one for each of token_ids when the policy asks for them, else empty.
    """

    sequence: int
    token_ids: tuple[int, ...] = ()
    logits: NDArray[np.float32] | None = None
    error: RealmError | None = None
    logprobs: tuple[TokenLogprobs, ...] = ()
