"""Each layer alone, fed with the oracle's own hidden states: small errors cannot hide in a sum."""

from itertools import pairwise

import numpy as np

from .layer_runner import run_layer

LAYER_TOLERANCE = 0.04
"""Error of a layer's output relative to what the layer adds to its input, root mean square."""


def test_every_layer_is_near_the_oracles(oracle, stored_model, long_passage, report):
    # The last state has gone through the final norm, so the last layer is left to the logits.
    states = oracle.hidden_states(long_passage)[:-1]
    errors = []
    for layer, (entering, leaving) in enumerate(pairwise(states)):
        wrong = run_layer(stored_model, layer, entering) - leaving
        added = leaving - entering
        errors.append(float(np.sqrt(np.square(wrong).mean() / np.square(added).mean())))
    worst = int(np.argmax(errors))
    report(
        f"{len(errors)} layers: mean error {np.mean(errors):.4f}, worst {errors[worst]:.4f}"
        f" in layer {worst}"
    )
    assert max(errors) <= LAYER_TOLERANCE


def test_embeddings_are_the_oracles(oracle, stored_model, long_passage):
    expected = oracle.hidden_states(long_passage)[0]
    np.testing.assert_allclose(stored_model.embed(long_passage), expected, rtol=1e-6)


def test_a_token_sees_exactly_its_window(oracle, stored_model, long_passage):
    entering = oracle.hidden_states(long_passage)[0]
    changed = entering.copy()
    changed[0] = entering[1]
    # Every row that sees token 0 changes: in a row of 640 values some bit of its share shows.
    for layer in range(min(6, oracle.layer_count)):
        before = run_layer(stored_model, layer, entering)
        after = run_layer(stored_model, layer, changed)
        seen = np.flatnonzero((before != after).any(axis=-1))
        assert seen.tolist() == list(range(min(oracle.window(layer), len(entering)))), layer
