"""Realm's logits against the oracle's, within what rounding activations to int8 explains."""

import numpy as np

from .comparison import compare, disagreements


def _check(exact, measured, expectation):
    difference = compare(exact, measured)
    assert difference.largest <= expectation.largest
    assert difference.root_mean_square <= expectation.root_mean_square
    assert difference.divergence <= expectation.divergence
    leads = [found.lead for found in disagreements(exact, measured)]
    assert max(leads, default=0.0) <= expectation.near_tie


def test_short_prompts(oracle, stored_model, prompts, expectation, report):
    rows = [(oracle.logits(ids), stored_model.logits(ids)) for ids in prompts.values()]
    for text, (exact, measured) in zip(prompts, rows, strict=True):
        assert measured.dtype == np.float32
        report(f"{text!r}: {compare(exact, measured)}")
    exact = np.concatenate([row[0] for row in rows])
    measured = np.concatenate([row[1] for row in rows])
    _check(exact, measured, expectation)


def test_a_passage_longer_than_the_sliding_window(
    stored_model, long_passage, long_passage_logits, expectation, report
):
    exact, measured = long_passage_logits, stored_model.logits(long_passage)
    difference = compare(exact, measured)
    leads = [found.lead for found in disagreements(exact, measured)]
    report(f"long passage: {difference}, widest lead overturned {max(leads, default=0.0):.3f}")
    _check(exact, measured, expectation)
    assert difference.agreement >= expectation.agreement
    # Rows past the window would differ most if a window began or ended one key off.
    tail = compare(exact[520:], measured[520:])
    report(f"its rows from 520: {tail}")
    assert tail.root_mean_square <= expectation.root_mean_square
