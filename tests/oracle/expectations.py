"""What is expected of each test model: sanity of the oracle, tolerances of Realm.

The tolerances come from the oracle itself. Rounding its activations to int8 with a scale for 32
columns, and nothing else, changes its logits by what `noise` says (640 tokens of the text; see
`test_float32_oracle.py`, which measures it again). Realm rounds in the same places and keeps its
cache in f16, so it may do half as badly again and no worse.
"""

from __future__ import annotations

from dataclasses import dataclass

PERPLEXITY_TOLERANCE = 0.005
"""Largest relative difference of Realm's perplexity from float32's."""
NEAR_TIE_DEVIATIONS = 5.0
PERPLEXITY_WINDOW = 512
PERPLEXITY_WINDOWS = 9
GREEDY_TOKENS = 64

PROMPTS = (
    "The capital of France is",
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):\n    if n < 2:\n        return n\n",
    "Question: Why does ice float on water?\nAnswer:",
    "La tour Eiffel se trouve à",
)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Bounds on Realm's logits against the oracle's; fields as in `comparison.Difference`."""

    largest: float
    root_mean_square: float
    divergence: float
    agreement: float

    @property
    def near_tie(self) -> float:
        """Largest lead of the oracle's choice over another at which the noise may overturn it."""
        return NEAR_TIE_DEVIATIONS * self.root_mean_square


@dataclass(frozen=True, slots=True)
class Expectation:
    """One test model.

    perplexity: of the float32 oracle on the windows of english.txt, recorded with transformers'
    own tokenizer for the same file.
    noise: root-mean-square change of the logits under int8 activations, recorded likewise.
    completion, after: text that the oracle's greedy continuation of `after` must hold.
    """

    perplexity: float
    noise: float
    after: str
    completion: str
    tolerance: Tolerance


EXPECTATIONS = {
    "smollm2": Expectation(
        perplexity=29.49,
        noise=0.095,
        after="The capital of France is",
        completion="Paris",
        tolerance=Tolerance(largest=1.6, root_mean_square=0.15, divergence=5e-3, agreement=0.93),
    ),
    "gemma3": Expectation(
        perplexity=27.44,
        noise=0.094,
        # A base model of this size: it completes a list more surely than a statement.
        after="Germany: Berlin\nSpain: Madrid\nItaly: Rome\nFrance:",
        completion="Paris",
        tolerance=Tolerance(largest=2.1, root_mean_square=0.14, divergence=4e-3, agreement=0.93),
    ),
}
