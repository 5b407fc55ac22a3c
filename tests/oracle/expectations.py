"""What is expected of each test model: sanity of the oracle, tolerances of Realm.

The tolerances come from the oracle itself. Rounding its activations to int8 with a scale for 32
columns, and nothing else, changes its logits by what `noise` says; `test_float32_oracle.py`
measures it again. Realm rounds in the same places, sums in another order and keeps its cache in
f16, and short prompts are noisier than the passage: it may differ by twice the noise, no more.
"""

from __future__ import annotations

from dataclasses import dataclass

from .comparison import Difference

PERPLEXITY_TOLERANCE = 0.005
"""Largest relative difference of Realm's perplexity from float32's."""
NOISE_MARGIN = 2.0
NEAR_TIE_DEVIATIONS = 3.0
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
class Expectation:
    """One test model.

    perplexity: of the float32 oracle on the windows of english.txt, recorded with transformers'
    own tokenizer for the same file.
    after, completion: the oracle's greedy continuation of the first must hold the second.
    noise: how int8 activations change the oracle's logits on 640 tokens of the text, recorded.
    """

    perplexity: float
    after: str
    completion: str
    noise: Difference

    @property
    def largest(self) -> float:
        """Bound on the largest difference of a logit of Realm from the oracle's."""
        return NOISE_MARGIN * self.noise.largest

    @property
    def root_mean_square(self) -> float:
        """Bound on the root mean square of the differences."""
        return NOISE_MARGIN * self.noise.root_mean_square

    @property
    def divergence(self) -> float:
        """Bound on the mean KL divergence, in nats a token."""
        return NOISE_MARGIN * self.noise.divergence

    @property
    def agreement(self) -> float:
        """Least share of tokens whose most likely successor is the oracle's."""
        return 1.0 - NOISE_MARGIN * (1.0 - self.noise.agreement)

    @property
    def near_tie(self) -> float:
        """Largest lead of the oracle's choice over another at which the noise may overturn it.

        Three deviations of the bounded noise: two logits that lie nearer are nearly tied.
        """
        return NEAR_TIE_DEVIATIONS * self.root_mean_square


EXPECTATIONS = {
    "smollm2": Expectation(
        perplexity=29.49,
        after="The capital of France is",
        completion="Paris",
        noise=Difference(
            tokens=640,
            largest=1.07,
            root_mean_square=0.096,
            divergence=2.8e-3,
            worst_divergence=1.6e-2,
            agreement=0.959,
        ),
    ),
    "gemma3": Expectation(
        perplexity=27.44,
        # A base model of this size: it completes a list more surely than a statement.
        after="Germany: Berlin\nSpain: Madrid\nItaly: Rome\nFrance:",
        completion="Paris",
        noise=Difference(
            tokens=640,
            largest=1.76,
            root_mean_square=0.097,
            divergence=2.2e-3,
            worst_divergence=3.1e-2,
            agreement=0.975,
        ),
    ),
}
