"""What two sets of logits are compared by: rows of NumPy in, figures out; torch does the sums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

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


def compare(oracle: Logits, measured: Logits) -> Difference:
    """Figures over all rows; both [tokens, vocabulary]."""
    if oracle.shape != measured.shape:
        raise ValueError(f"shapes differ: {oracle.shape} and {measured.shape}")
    largest = square = 0.0
    divergences: list[float] = []
    for expected, actual in zip(_chunks(oracle), _chunks(measured), strict=True):
        difference = actual - expected
        difference -= difference.mean(-1, keepdim=True)
        largest = max(largest, float(difference.abs().amax()))
        square += float(torch.square(difference).sum(-1).double().sum())
        log_expected = torch.log_softmax(expected, -1)
        gap = log_expected.exp() * (log_expected - torch.log_softmax(actual, -1))
        divergences.extend(gap.sum(-1).tolist())
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
    return float(token_likelihoods(logits, next_ids).sum())


def token_likelihoods(logits: Logits, next_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """-log p(next id) of each row, in nats; logits [rows, vocabulary], next_ids [rows]."""
    found = []
    for rows, chosen in zip(
        _chunks(logits), torch.split(torch.from_numpy(next_ids), ROWS), strict=True
    ):
        likely = rows.gather(-1, chosen[:, None])[:, 0]
        found.append((torch.logsumexp(rows, -1) - likely).double())
    return torch.cat(found).numpy()


def _chunks(logits: Logits) -> tuple[torch.Tensor, ...]:
    return torch.split(torch.from_numpy(logits), ROWS)


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
