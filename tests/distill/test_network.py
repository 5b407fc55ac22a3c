"""The draft in torch: the loss's gradient against torch's own, the network against Realm's run."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.tiny_model import FEED_FORWARD, HIDDEN, VOCABULARY, TinyModel
from torch.nn import functional

from realm.distill.beginning import first_weights
from realm.distill.corpus import Text, join_texts
from realm.distill.draft_file import write_draft
from realm.distill.head_loss import HeadLoss
from realm.distill.network import DraftNetwork
from realm.distill.vocabulary import choose_tokens
from realm.errors import ConfigError
from realm.kernels import CachePool, Team
from realm.model import ModelStorage, match_draft


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    path = tmp_path_factory.mktemp("target") / "target.gguf"
    return ModelStorage(1).load(TinyModel(block_type="F32", head_block_type="F32").write(path))


@pytest.fixture(scope="module")
def corpus():
    tokens = np.concatenate([np.arange(40), np.arange(20), np.arange(10)]).astype(np.int32)
    rows = np.zeros((len(tokens) - 5, 1), np.int32)
    features = np.zeros((len(rows), 1, HIDDEN), np.float16)
    return join_texts([Text(tokens, 5, rows, rows.astype(np.float16), features, True)], ())


@pytest.mark.parametrize("rows", [1, 95, 97, 200])
def test_head_loss_is_the_cross_entropy(rows):
    generator = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, 24, generator=generator).requires_grad_()
    head = torch.randn(60, 24, generator=generator).requires_grad_()
    wanted = torch.randint(0, 60, (rows, 3), generator=generator)
    shares = torch.rand(rows, 3, generator=generator)
    shares /= shares.sum(1, keepdim=True)
    logits = functional.linear(hidden, head)
    expected = -(functional.log_softmax(logits, 1).gather(1, wanted) * shares).sum(1).mean()
    slopes = torch.autograd.grad(3 * expected, [hidden, head])
    loss, right = HeadLoss.apply(hidden, head, wanted, shares, torch.float32)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert right.item() == pytest.approx((logits.argmax(1) == wanted[:, 0]).float().mean().item())
    for found, slope in zip(torch.autograd.grad(3 * loss, [hidden, head]), slopes, strict=True):
        torch.testing.assert_close(found, slope, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "layers", [((0,), (), False), ((2, -2), (), True), ((1,), (2, 0), False)], ids=str
)
def test_written_draft_computes_what_torch_does(target, corpus, tmp_path, layers):
    layers, read, tied = layers
    vocabulary = choose_tokens(target, list(corpus.texts()), 48)
    shape, weights = first_weights(target, vocabulary, layers, read, tied=tied, seed=1)
    random = np.random.default_rng(9)
    for name, values in weights.items():
        if not values.any():  # it would begin at nothing
            weights[name] = (random.standard_normal(values.shape) / 20).astype(np.float32)
    path = tmp_path / "draft.gguf"
    kinds = {"block_type": "F32", "embedding_block_type": "F32"}
    write_draft(path, target, vocabulary, shape, weights, **kinds, facts={})
    draft = match_draft(target, ModelStorage(1).load(path))
    generator = np.random.default_rng(4)
    tokens = np.array(draft.tokens_of(generator.integers(0, VOCABULARY, 21).tolist()), np.int32)
    features = generator.standard_normal((7, 1 + len(read), HIDDEN)).astype(np.float32)
    network = DraftNetwork(shape, weights)
    counts = [7, 7, 3]
    with torch.no_grad():
        rows = network.chain(
            torch.from_numpy(features),
            torch.from_numpy(tokens.reshape(7, 3).astype(np.int64)),
            counts,
        )
    table = np.arange(7, dtype=np.int32).reshape(7, 1)
    pool, team = CachePool(draft.stored.native, 7), Team(2)
    features = features.reshape(7, -1)
    for place, (count, expected) in enumerate(zip(counts, rows, strict=True)):
        following = np.empty((count, HIDDEN), np.float32)
        draft.stored.native.step(
            pool,
            team,
            tokens=np.ascontiguousarray(tokens.reshape(7, 3)[:count, place]),
            page_table=table,
            segments=np.array([(row, place, 1) for row in range(count)], np.int32),
            layer_begin=0,
            layer_end=len(layers),
            logit_rows=np.arange(count, dtype=np.int32),
            features=features[:count],
            features_out=following,
        )
        logits = functional.linear(expected, network.head).detach().numpy()
        assert np.abs(following - expected.numpy()).max() < 0.03 * np.abs(expected.numpy()).max()
        found = draft.stored.native.logits(0, count)
        assert np.abs(found - logits).max() < 0.03 * np.abs(logits).max()
        features = following
    assert [path.name for path in tmp_path.iterdir()] == ["draft.gguf"]


def test_vocabulary_is_the_most_frequent_tokens_and_the_ends(target, corpus):
    vocabulary = choose_tokens(target, list(corpus.texts()), 25)
    # Said three times, then twice; 0..4 stand in the prompt, and are said too.
    merged = {target.tokenizer.encode(text)[0] for text in ("t", "h", "th")}
    assert set(vocabulary.to_target.tolist()) == {*range(20), *merged, VOCABULARY - 1, -1}
    known = vocabulary.from_target[vocabulary.to_target[:-1]]
    assert known.tolist() == list(range(24))
    assert vocabulary.from_target[30] == 24


def test_weights_begin_as_the_targets(target, corpus):
    vocabulary = choose_tokens(target, list(corpus.texts()), 48)
    _, weights = first_weights(target, vocabulary, (1,), (2,), tied=False, seed=1)
    native = target.embed([7])[0]
    row = weights["token_embd.weight"][vocabulary.from_target[7]]
    factor = np.dot(row, native) / np.dot(native, native)
    assert np.abs(row - factor * native).max() < 0.02 * factor
    head = weights["output.weight"][vocabulary.from_target[7]]
    assert np.abs(head - native).max() < 0.02
    assert not weights["blk.0.attn_output.weight"].any()
    assert not weights["feature.0.weight"].any()
    assert len(np.unique(weights["blk.0.ffn_down.weight"])) > 1000


def test_rows_that_are_no_blocks_are_refused(target, corpus, tmp_path):
    vocabulary = choose_tokens(target, list(corpus.texts()), 48)
    shape, weights = first_weights(target, vocabulary, (0,), (), tied=True, seed=1)
    shape = replace(shape, feed_forward_size=FEED_FORWARD - 1)
    kinds = {"block_type": "Q4_1", "embedding_block_type": "Q4_1"}
    with pytest.raises(ConfigError, match="no Q4_1 blocks of 32"):
        write_draft(tmp_path / "draft.gguf", target, vocabulary, shape, weights, **kinds, facts={})
    assert list(tmp_path.iterdir()) == []


def test_file_that_cannot_be_written_is_told(target, corpus, tmp_path):
    vocabulary = choose_tokens(target, list(corpus.texts()), 48)
    shape, weights = first_weights(target, vocabulary, (0,), (), tied=True, seed=1)
    kinds = {"block_type": "F16", "embedding_block_type": "Q8_0"}
    with pytest.raises(ConfigError, match="cannot be written"):
        write_draft(tmp_path, target, vocabulary, shape, weights, **kinds, facts={})
    assert not tmp_path.with_name(tmp_path.name + ".part").exists()
