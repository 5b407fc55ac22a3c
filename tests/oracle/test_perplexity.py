"""Realm's perplexity on English prose against float32's on the same weights."""

import numpy as np

from .comparison import negative_log_likelihood
from .expectations import PERPLEXITY_TOLERANCE


def test_perplexity_is_near_float32(oracle_likelihoods, stored_model, windows, report):
    scored = [len(window) - 1 for window in windows]
    measured = [
        negative_log_likelihood(stored_model.logits(window)[:-1], np.array(window[1:]))
        for window in windows
    ]
    expected_perplexity = np.exp(sum(oracle_likelihoods) / sum(scored))
    perplexity = np.exp(sum(measured) / sum(scored))
    per_window = (np.array(measured) - np.array(oracle_likelihoods)) / np.array(scored)
    spread = per_window.std(ddof=1) / np.sqrt(len(per_window))
    report(
        f"perplexity over {sum(scored)} tokens: Realm {perplexity:.4f}, "
        f"float32 {expected_perplexity:.4f}, {perplexity / expected_perplexity - 1:+.3%} "
        f"(standard error {spread:.3%})"
    )
    assert sum(scored) >= 4096
    assert abs(perplexity / expected_perplexity - 1) <= PERPLEXITY_TOLERANCE
