"""What a step gives back to whoever asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realm.errors import RealmError


@dataclass(frozen=True, slots=True, eq=False)
class StepOutput:
    """The answer to one `sample` or `logits` call, or the reason why there is none.

    token_ids: what was sampled; already part of the sequence. logits: float32 [vocabulary].
    """

    sequence: int
    token_ids: tuple[int, ...] = ()
    logits: NDArray[np.float32] | None = None
    error: RealmError | None = None
