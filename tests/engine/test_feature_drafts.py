"""Drafts from features: the row that drew the newest token, whatever came before; texts stay."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from tests.engine.conftest import Loader
from tests.engine.decoding import draw_each
from tests.engine.test_joined_steps import engine_with as joining
from tests.engine.test_speculative_steps import (
    GREEDY,
    OFF,
    POLICIES,
    TEXT,
    Failing,
    decode,
    engine_with,
    watch,
)
from tests.tiny_model import TinyModel

from realm.config import SpeculativeConfig
from realm.engine.drafter import Drafter, DraftWish
from realm.engine.feature_drafts import FeatureDrafts
from realm.engine.sequence import Feature, Sequence
from realm.engine.speculation import Source
from realm.errors import (
    DraftMismatchError,
    MissingTensorError,
    ModelError,
    NativeError,
    TensorShapeError,
)
from realm.kernels import CachePool, Team
from realm.model import DraftModel, ModelStorage, StoredModel, match_draft

MODEL_ALONE = SpeculativeConfig(draft_k=5, suffix=False, history_tokens=0)


@pytest.fixture
def cheap_drafts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drafter, "relative_cost", 0.01)


@pytest.fixture
def pair(load_tiny: Loader) -> tuple[StoredModel, DraftModel]:
    """A target, and a draft that is always right about it."""
    target = load_tiny(looks_back=False)
    return target, match_draft(target, load_tiny(architecture="realm-draft", looks_back=False))


@pytest.mark.parametrize(
    "config", [OFF, SpeculativeConfig(draft_k=4, history_tokens=0)], ids=["joined", "drafts"]
)
def test_feature_is_what_drew_the_newest_token(
    load_tiny: Loader, config: SpeculativeConfig
) -> None:
    model = load_tiny()
    engine = joining(speculation=config) if config is OFF else engine_with(config)
    prompts = [TEXT[:30], TEXT] if config is OFF else [TEXT]
    numbers = [engine.open(model, "a", feature_layers=()) for _ in prompts]
    for number, prompt in zip(numbers, prompts, strict=True):
        engine.append(number, prompt)
    looked_at = 0
    for _ in range(40):
        draw_each(engine, numbers)
        for number in numbers:
            feature = engine.feature(number)
            if feature is not None:
                tokens = engine._find(number)[1].tokens
                expected = model.features(tokens[:-1])[-1]
                assert np.abs(feature - expected).max() < 1e-4 * np.abs(expected).max()
                looked_at += 1
    assert looked_at >= 20
    assert looked_at < 40 * len(numbers)  # some tokens were drawn behind others in one call
    engine.append(numbers[0], [1])
    assert engine.feature(numbers[0]) is None


@pytest.mark.usefixtures("cheap_drafts")
@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_texts_repeat(pair: tuple[StoredModel, DraftModel], name: str, batch: int) -> None:
    target, draft = pair
    prompts = [TEXT[index : index + 20] for index in range(batch)]
    plain = decode(engine_with(OFF), target, prompts, POLICIES[name], 24)
    engine = engine_with(MODEL_ALONE)
    assert decode(engine, target, prompts, POLICIES[name], 24, draft) == plain
    if batch < 16:
        counts = engine.speculation_metrics().by_source[Source.MODEL]
        assert counts.accepted > 0
        if name in {"greedy", "sampled"}:
            assert counts.accepted == counts.drafted


@pytest.mark.usefixtures("cheap_drafts")
def test_a_draft_that_is_wrong_changes_nothing(load_tiny: Loader) -> None:
    model = load_tiny()
    draft = match_draft(model, load_tiny(architecture="realm-draft"))
    for name, policy in POLICIES.items():
        plain = decode(engine_with(OFF), model, [TEXT], policy, 24)
        engine = engine_with(MODEL_ALONE)
        watched = Failing(draft.stored)
        watch(engine, model, draft, watched)
        assert decode(engine, model, [TEXT], policy, 24, draft) == plain, name
        assert watched.calls > 0


def test_more_sequences_than_pages(pair: tuple[StoredModel, DraftModel]) -> None:
    target, draft = pair
    drafts = FeatureDrafts(draft, target, Team(1), lambda: 0.0)
    wishes, expected = [], {}
    for number in range(40):
        tokens = [number + 1, number + 2]
        row = target.features(tokens[:-1])[-1]
        sequence = Sequence(number, "a", 0, tokens=list(tokens), want=GREEDY)
        sequence.feature = Feature(1, (), row[None])
        wishes.append(DraftWish(sequence, 3, lambda _: 1.0))
        for _ in range(3):
            tokens.append(int(target.logits(tokens)[-1].argmax()))
        expected[number] = tuple(tokens[2:])
    wishes.append(DraftWish(Sequence(40, "a", 0, tokens=[5], want=GREEDY), 3, lambda _: 1.0))
    found = drafts.propose(wishes, 0.0)
    assert {number: draft.token_ids for number, draft in found.items()} == expected
    assert drafts.propose(wishes[-1:], 0.0) == {}


def test_a_model_that_reads_features_says_nothing_itself(
    pair: tuple[StoredModel, DraftModel], load_tiny: Loader
) -> None:
    target, draft = pair
    with pytest.raises(ModelError, match="only draft"):
        engine_with(OFF).open(draft.stored, "a")
    with pytest.raises(NativeError, match="features"):
        draft.stored.logits([1, 2])
    with pytest.raises(DraftMismatchError, match="reads features of 96 numbers"):
        match_draft(load_tiny(hidden=128, heads=4), draft.stored)
    with pytest.raises(NativeError, match="features"):
        _step(target, features=np.zeros((2, 96), np.float32))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("features", (1, 96)), ("features", (2, 95)), ("features_out", (3, 96))],
)
def test_features_of_another_shape_are_refused(
    pair: tuple[StoredModel, DraftModel], name: str, shape: tuple[int, int]
) -> None:
    given = {"features": np.zeros((2, 96), np.float32)} | {name: np.zeros(shape, np.float32)}
    with pytest.raises(NativeError, match="another shape"):
        _step(pair[1].stored, **given)


@dataclasses.dataclass(frozen=True)
class Misshapen(TinyModel):
    """A draft whose feature matrix has another shape, or none at all."""

    feature_shape: tuple[int, ...] = ()

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = super()._shapes()
        del shapes["feature.weight"]
        return shapes | ({"feature.weight": self.feature_shape} if self.feature_shape else {})


@pytest.mark.parametrize(
    ("shape", "error"), [((), MissingTensorError), ((96, 32), TensorShapeError)]
)
def test_a_file_without_its_feature_matrix_is_refused(
    tmp_path: Path, shape: tuple[int, ...], error: type[ModelError]
) -> None:
    path = Misshapen("realm-draft", feature_shape=shape).write(tmp_path / "draft.gguf")
    with pytest.raises(error, match="feature"):
        ModelStorage(1).load(path)


def _step(model: StoredModel, **given: np.ndarray) -> None:
    model.native.step(
        CachePool(model.native, 1),
        Team(1),
        tokens=np.array([1, 2], np.int32),
        page_table=np.zeros((1, 1), np.int32),
        segments=np.array([(0, 0, 2)], np.int32),
        layer_begin=0,
        layer_end=model.hyperparameters.layer_count,
        logit_rows=np.array([0, 1], np.int32),
        **given,
    )


@pytest.mark.usefixtures("cheap_drafts")
def test_a_draft_that_fails_is_left_alone(pair: tuple[StoredModel, DraftModel]) -> None:
    target, draft = pair
    plain = decode(engine_with(OFF), target, [TEXT], GREEDY, 24)
    engine = engine_with(SpeculativeConfig(draft_k=2, suffix=False, history_tokens=0))
    dying = Failing(draft.stored, steps=5)
    watch(engine, target, draft, dying)
    assert decode(engine, target, [TEXT], GREEDY, 24, draft) == plain
    assert dying.calls == 5
    assert engine.speculation_metrics().accepted > 0
