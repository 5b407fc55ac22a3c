"""Perplexity of a text in windows: exp of the mean negative log likelihood of its tokens.

The rule, which fixes the figure: the text's tokens (without specials) are cut into windows that
do not overlap. A window is `context` tokens long; where the vocabulary asks for a beginning-of-text
token (bos), that is the window's first token and the text fills the rest. A window's first token is
never scored, every other one is. A last window of one token is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from realm.errors import ConfigError

_ROWS = 32  # rows of logits in double precision at a time: a vocabulary has up to 262 k entries

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Perplexity:
    """The figure and the number of tokens that were scored for it."""

    perplexity: float
    tokens: int


def text_windows(
    token_ids: Sequence[int], context: int, bos_id: int | None
) -> Iterator[tuple[int, ...]]:
    """The windows of a text, each of 2..context tokens."""
    prefix = () if bos_id is None else (bos_id,)
    stride = context - len(prefix)
    if stride < 1 or context < 2:
        raise ConfigError(f"a context of {context} tokens leaves nothing to score")
    for start in range(0, len(token_ids), stride):
        window = prefix + tuple(token_ids[start : start + stride])
        if len(window) > 1:
            yield window


def negative_log_likelihood(logits: Logits, window: Sequence[int]) -> float:
    """Sum of -log p(window[i + 1] | window[..i]), in nats; logits float32 [len(window), vocab]."""
    targets = np.asarray(window[1:], dtype=np.int64)
    total = 0.0
    for first in range(0, len(targets), _ROWS):
        chosen = targets[first : first + _ROWS]
        rows = logits[first : first + len(chosen)].astype(np.float64)
        highest = rows.max(axis=1)
        normaliser = highest + np.log(np.exp(rows - highest[:, None]).sum(axis=1))
        total += float((normaliser - rows[np.arange(len(chosen)), chosen]).sum())
    return total


def measure_perplexity(
    logits_of: Callable[[Sequence[int]], Logits],
    windows: Sequence[Sequence[int]],
    report: Callable[[int], None],
) -> Perplexity:
    """Perplexity over the windows; `report` hears the number of windows done.

    logits_of: float32 [tokens, vocab] of a window's tokens. ConfigError when nothing is scored.
    """
    total, tokens = 0.0, 0
    for done, window in enumerate(windows, start=1):
        total += negative_log_likelihood(logits_of(window), window)
        tokens += len(window) - 1
        report(done)
    if not tokens:
        raise ConfigError("the text is too short: no token can be scored")
    try:
        return Perplexity(math.exp(total / tokens), tokens)
    except OverflowError:
        return Perplexity(math.inf, tokens)
