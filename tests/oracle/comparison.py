"""What two sets of logits are compared by; plain NumPy, rows in, figures out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

ROWS = 64
"""Rows worked on at once, so that a 262 k vocabulary stays small in memory."""

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Difference:
    """How far measured logits lie from the oracle's.

    largest, root_mean_square: of measured - oracle, over every token and vocabulary entry, after
    each token's mean difference is taken off (a shift of a whole row changes no probability).
    divergence: KL(oracle || measured) in nats, mean over the tokens; worst_divergence its maximum.
    agreement: share of the tokens whose most likely next token is the same.
    """

    tokens: int
    largest: float
    root_mean_square: float
    divergence: float
    worst_divergence: float
    agreement: float

    def __str__(self) -> str:
        return (
            f"{self.tokens} tokens: largest {self.largest:.4f}, rms {self.root_mean_square:.4f}, "
            f"KL mean {self.divergence:.2e} worst {self.worst_divergence:.2e}, "
            f"top-1 agreement {self.agreement:.2%}"
        )


def log_softmax(logits: Logits) -> Logits:
    """Log probabilities of each row, [rows, vocabulary]."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    total = np.exp(shifted).sum(axis=-1, keepdims=True, dtype=np.float64)
    return shifted - np.log(total).astype(np.float32)


def compare(oracle: Logits, measured: Logits) -> Difference:
    """Figures over all rows; both [tokens, vocabulary]."""
    if oracle.shape != measured.shape:
        raise ValueError(f"shapes differ: {oracle.shape} and {measured.shape}")
    largest = square = 0.0
    divergences: list[float] = []
    for first in range(0, len(oracle), ROWS):
        expected, actual = oracle[first : first + ROWS], measured[first : first + ROWS]
        difference = actual - expected
        difference -= difference.mean(axis=-1, keepdims=True)
        largest = max(largest, float(np.abs(difference).max()))
        square += float(np.square(difference).sum(dtype=np.float64))
        log_expected = log_softmax(expected)
        gap = np.exp(log_expected) * (log_expected - log_softmax(actual))
        divergences.extend(gap.sum(axis=-1, dtype=np.float64).tolist())
    same = oracle.argmax(axis=-1) == measured.argmax(axis=-1)
    return Difference(
        tokens=len(oracle),
        largest=largest,
        root_mean_square=float(np.sqrt(square / oracle.size)),
        divergence=float(np.mean(divergences)),
        worst_divergence=float(np.max(divergences)),
        agreement=float(same.mean()),
    )


def negative_log_likelihood(logits: Logits, next_ids: npt.NDArray[np.int64]) -> float:
    """Sum over rows of -log p(next id), in nats; logits [rows, vocabulary], next_ids [rows]."""
    total = 0.0
    for first in range(0, len(next_ids), ROWS):
        chunk = slice(first, first + ROWS)
        chosen = np.take_along_axis(log_softmax(logits[chunk]), next_ids[chunk, np.newaxis], -1)
        total -= float(chosen.sum(dtype=np.float64))
    return total


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A token that the measured model would choose otherwise than the oracle.

    lead: oracle logit of the oracle's choice minus oracle logit of the measured choice.
    """

    index: int
    oracle_choice: int
    measured_choice: int
    lead: float


def disagreements(oracle: Logits, measured: Logits) -> list[Disagreement]:
    """Every row whose argmax differs, in order; both [rows, vocabulary]."""
    expected, actual = oracle.argmax(axis=-1), measured.argmax(axis=-1)
    found = []
    for index in np.flatnonzero(expected != actual):
        lead = oracle[index, expected[index]] - oracle[index, actual[index]]
        found.append(
            Disagreement(int(index), int(expected[index]), int(actual[index]), float(lead))
        )
    return found
