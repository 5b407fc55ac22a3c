"""The oracle must itself be right before anything is held against it."""

import numpy as np
import pytest

from .comparison import compare, disagreements, negative_log_likelihood
from .expectations import PROMPTS


def test_perplexity_is_as_recorded(oracle_likelihoods, windows, expectation, report):
    scored = sum(len(window) - 1 for window in windows)
    perplexity = float(np.exp(sum(oracle_likelihoods) / scored))
    report(f"float32 perplexity {perplexity:.3f} over {scored} tokens")
    assert scored >= 4096
    assert perplexity == pytest.approx(expectation.perplexity, rel=0.005)


def test_greedy_text_makes_sense(oracle, encode, stored_model, expectation, report):
    (continuation,) = oracle.greedy([encode(expectation.after)], 8)
    text = stored_model.tokenizer.decode(continuation.token_ids)
    report(f"{expectation.after!r} -> {text!r}")
    assert expectation.completion in text


def test_decoding_token_by_token_gives_the_logits_of_one_pass(oracle, encode, expectation):
    prompts = [encode(text) for text in (expectation.after, PROMPTS[1])]
    assert len(prompts[0]) != len(prompts[1])
    for token_ids, continuation in zip(prompts, oracle.greedy(prompts, 8), strict=True):
        whole = oracle.logits(token_ids + continuation.token_ids[:-1])[-8:]
        np.testing.assert_allclose(continuation.logits, whole, atol=1e-2)


def test_rounding_activations_makes_the_recorded_noise(
    oracle, long_passage, long_passage_logits, expectation, report
):
    with oracle.int8_activations():
        rounded = oracle.logits(long_passage)
    difference = compare(long_passage_logits, rounded)
    leads = [found.lead for found in disagreements(long_passage_logits, rounded)]
    report(f"int8 activations alone: {difference}, widest lead overturned {max(leads):.3f}")
    recorded = expectation.noise
    assert difference.root_mean_square == pytest.approx(recorded.root_mean_square, rel=0.1)
    assert difference.divergence == pytest.approx(recorded.divergence, rel=0.2)
    assert max(leads) <= expectation.near_tie


def test_comparison_figures_on_known_rows():
    oracle = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], dtype=np.float32))
    measured = np.log(np.array([[0.25, 0.5, 0.25], [0.1, 0.8, 0.1]], dtype=np.float32)) + 3
    difference = compare(oracle, measured)
    assert difference.tokens == 2
    assert difference.agreement == 0.5
    assert difference.largest == pytest.approx(np.log(2), rel=1e-5)
    assert difference.root_mean_square == pytest.approx(np.log(2) * np.sqrt(2 / 6), rel=1e-5)
    assert difference.worst_divergence == pytest.approx(0.25 * np.log(2), rel=1e-5)
    assert difference.divergence == pytest.approx(0.125 * np.log(2), rel=1e-5)
    (found,) = disagreements(oracle, measured)
    assert (found.index, found.oracle_choice, found.measured_choice) == (0, 0, 1)
    assert found.lead == pytest.approx(np.log(2), rel=1e-5)


def test_likelihood_of_known_rows():
    probabilities = np.array([[0.5, 0.25, 0.25]] * 130, dtype=np.float32)
    total = negative_log_likelihood(np.log(probabilities) + 90, np.full(130, 2))
    assert total == pytest.approx(130 * np.log(4), rel=1e-5)
