"""Embeddings against the oracle's normed output."""

import numpy as np
import pytest

LEAST_COSINE = 0.999


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_embeddings_point_where_the_oracles_do(oracle, stored_model, prompts, report, pooling):
    cosines = []
    for ids in prompts.values():
        rows = oracle.hidden_states(ids)[-1]
        expected = unit(rows.mean(axis=0) if pooling == "mean" else rows[-1])
        actual = stored_model.embed_text(ids, pooling)
        assert actual.dtype == np.float32
        assert float(np.linalg.norm(actual)) == pytest.approx(1.0, abs=1e-5)
        cosines.append(float(expected @ actual))
    report(f"{pooling}: least cosine {min(cosines):.5f}")
    assert min(cosines) > LEAST_COSINE


def test_the_length_is_the_oracles_too(oracle, stored_model, long_passage):
    expected = oracle.hidden_states(long_passage)[-1].mean(axis=0)
    actual = stored_model.embed_text(long_passage, "mean", normalize=False)
    assert np.linalg.norm(actual - expected) < 0.05 * np.linalg.norm(expected)
