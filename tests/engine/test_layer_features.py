"""Features of layers beside the head's: what their attention multiplied, in every kind of step, and
what a draft makes of them."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine.changes import fork, rewind
from tests.engine.conftest import Loader
from tests.engine.decoding import GREEDY, PROMPT, Decoding, draw_each
from tests.engine.test_drafted_steps import (
    FURTHER,
    MODEL_ALONE,
    MOST,
    NO_DRAFTS,
    asked,
    drafted,
    engine_with,
    step,
    texts_of,
)
from tests.tiny_model import HIDDEN, LAYERS, TinyModel

from realm.engine import Engine, model_step
from realm.engine.drafter import Drafter, DraftWish
from realm.engine.feature_drafts import FeatureDrafts
from realm.engine.sequence import Feature, Sequence
from realm.engine.speculation import Calibration, DraftGate
from realm.engine.step_run import StepsRun
from realm.errors import ArchitectureError, DraftMismatchError, NativeError, RequestError
from realm.gguf import open_gguf
from realm.kernels import CachePool, Team, rms_norm
from realm.model import DraftModel, ModelStorage, StoredModel, match_draft

READ = (2, 0)


@pytest.fixture(autouse=True)
def hopeful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draft of random weights is asked as well."""
    monkeypatch.setattr(Drafter, "relative_cost", 0.01)
    monkeypatch.setattr(Calibration, "chances", lambda *_: (0.9,) * 17)
    monkeypatch.setattr(Calibration, "chance", lambda *_: 0.9)
    monkeypatch.setattr(DraftGate, "chance", 0.9)


@pytest.fixture
def target(load_tiny: Loader, isa: str) -> StoredModel:
    return load_tiny(isa)


@pytest.fixture
def draft(load_tiny: Loader, isa: str, target: StoredModel) -> DraftModel:
    return match_draft(target, load_tiny(isa, architecture="realm-draft", feature_layers=READ))


def multiplied(model: StoredModel, tokens: list[int], layer: int) -> np.ndarray:
    """What the layer's attention multiplies: the residual stream before it, and its norm."""
    out = np.empty((len(tokens), model.hyperparameters.hidden_size), np.float32)
    pages = -(-len(tokens) // 16)
    model.native.step(
        CachePool(model.native, pages),
        Team(1),
        tokens=np.array(tokens, np.int32),
        page_table=np.arange(pages, dtype=np.int32).reshape(1, pages),
        segments=np.array([(0, 0, len(tokens))], np.int32),
        layer_begin=0,
        layer_end=layer,
        logit_rows=np.empty(0, np.int32),
        hidden_out=out,
    )
    with open_gguf(model.path) as file:
        weight = file.tensor_data(f"blk.{layer}.attn_norm.weight").view(np.float32).copy()
    return rms_norm(model.native.instruction_set, out, weight, model.hyperparameters.epsilon)


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_features_of_layers_are_what_they_multiplied(
    load_tiny: Loader, isa: str, architecture: str
) -> None:
    model = load_tiny(isa, architecture=architecture)
    layers = list(range(LAYERS))[::-1]
    found = model.draft_features(PROMPT, layers)
    assert found.shape == (len(PROMPT), 1 + LAYERS, HIDDEN)
    expected = [model.features(PROMPT), *(multiplied(model, PROMPT, each) for each in layers)]
    assert np.abs(found - np.stack(expected, 1)).max() < 1e-4 * np.abs(found).max()


def test_every_sequence_has_the_parts_that_it_wants(
    target: StoredModel,
    draft: DraftModel,
    load_tiny: Loader,
    isa: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two drafts that read other layers, and who looks at others; steps joined and alone."""
    joined = []
    run = model_step.run_drafted_steps

    def watched(*arguments: Any) -> StepsRun:
        joined.append(run(*arguments))
        return joined[-1]

    monkeypatch.setattr(model_step, "run_drafted_steps", watched)
    other = load_tiny(isa, architecture="realm-draft", feature_layers=(1, 2), block_type="F16")
    engine = engine_with(MODEL_ALONE)
    wanted = {
        engine.open(target, "a", draft=draft, feature_layers=(1,)): (1,),
        engine.open(target, "a", draft=match_draft(target, other), feature_layers=()): (),
        engine.open(target, "a", feature_layers=(2, 1)): (2, 1),
    }
    for number in wanted:
        engine.append(number, PROMPT)
    looked_at = Counter[int]()
    for _ in range(40):
        draw_each(engine, wanted)
        for number, layers in wanted.items():
            feature = engine.feature(number)
            if feature is not None:
                tokens = engine._find(number)[1].tokens[:-1]
                expected = target.draft_features(tokens, layers)[-1]
                assert feature.shape == expected.shape
                assert np.abs(feature - expected).max() < 1e-4 * np.abs(expected).max()
                looked_at[number] += 1
    assert min(looked_at[number] for number in wanted) > 5
    assert 3 < len(joined) < engine.step_count // 2
    assert max(each.step_count for each in joined) > 1
    drafters = [engine._find(number)[1].drafter for number in list(wanted)[:2]]
    assert all(each is not None and each.is_alive for each in drafters)


def test_many_drafts_of_one_target(tmp_path: Path) -> None:
    """All of them together read more layers than one may; and nothing is left of them."""
    storage = ModelStorage(1)
    target = storage.load(TinyModel(layers=12).write(tmp_path / "target.gguf"))
    engine = engine_with(MODEL_ALONE)
    plain = engine.open(target, "plain")
    numbers = [plain]
    for first in (0, 4, 8):
        layers = tuple(range(first, first + 4))
        path = TinyModel("realm-draft", feature_layers=layers).write(tmp_path / f"{first}.gguf")
        draft = match_draft(target, storage.load(path))
        numbers.append(engine.open(target, f"owner {first}", draft=draft))
    for number in numbers:
        engine.append(number, PROMPT)
    for count in (30, 5):
        for _ in range(count):
            draw_each(engine, numbers)
        found = [engine._find(number)[1] for number in numbers]
        assert all(each.drafter is None or each.drafter.is_alive for each in found)
        assert found[0].feature is None
        for number in numbers[1:]:
            engine.close(number)
        numbers = [plain]


def test_layers_that_there_are_not_are_told(target: StoredModel) -> None:
    engine = engine_with(NO_DRAFTS)
    for layers in ((LAYERS,), (-1,)):
        with pytest.raises(RequestError, match="has 3 layers"):
            engine.open(target, "a", feature_layers=layers)


@pytest.mark.parametrize("change", [rewind, fork])
def test_features_after_a_change(
    target: StoredModel, draft: DraftModel, change: Callable[[Engine, int], int]
) -> None:
    engine = engine_with(MODEL_ALONE)
    number = engine.open(target, "a", draft=draft, feature_layers=(1,))
    engine.append(number, PROMPT)
    for _ in range(20):
        engine.sample(number, GREEDY, more=20)
        engine.step()
    number = change(engine, number)
    looked_at = 0
    for _ in range(20):
        feature = engine.feature(number)
        if feature is not None:
            tokens = engine._find(number)[1].tokens[:-1]
            expected = target.draft_features(tokens, (1,))[-1]
            assert np.abs(feature - expected).max() < 1e-4 * np.abs(expected).max()
            looked_at += 1
        engine.sample(number, GREEDY)
        engine.step()
    assert looked_at > 3


def test_a_feature_without_a_layer_is_none() -> None:
    sequence = Sequence(1, "a", 0, tokens=[1, 2])
    sequence.feature = Feature(1, (0, 2), np.zeros((3, HIDDEN), np.float32))
    assert sequence.newest_feature((0, 1)) is None and sequence.newest_feature(None) is None
    assert sequence.newest_feature((2,)) is not None


def likeliest(draft: DraftModel, token: int, feature: np.ndarray) -> int:
    """What the draft draws behind this token of the target's."""
    native = draft.stored.native
    native.step(
        CachePool(native, 1),
        Team(1),
        tokens=np.array([token], np.int32),
        page_table=np.zeros((1, 1), np.int32),
        segments=np.array([(0, 0, 1)], np.int32),
        layer_begin=0,
        layer_end=draft.stored.hyperparameters.layer_count,
        logit_rows=np.zeros(1, np.int32),
        features=feature.reshape(1, -1),
    )
    return int(native.logits(0, 1)[0].argmax())


def test_drafts_are_of_these_features(target: StoredModel, draft: DraftModel) -> None:
    drafts = FeatureDrafts(draft, target, Team(1), lambda: 0.0)
    known = (0, 1, 2)
    features = target.draft_features(PROMPT, known)
    read = [0, 3, 1]
    wishes, expected = [], {}
    for number, token in enumerate(PROMPT[1:6]):
        tokens = [*PROMPT[: 1 + number], token]
        sequence = Sequence(number, "a", 0, tokens=tokens, want=GREEDY, feature_layers=(1,))
        sequence.feature = Feature(1 + number, known, features[number])
        wishes.append(DraftWish(sequence, 1, lambda _: 1.0))
        expected[number] = (likeliest(draft, token, features[number, read]),)
    found = drafts.propose(wishes, 0.0)
    assert {number: each.token_ids for number, each in found.items()} == expected
    # Without those of layers the draft says something else.
    alone = [
        likeliest(draft, each.sequence.tokens[-1], features[n, :1]) for n, each in enumerate(wishes)
    ]
    assert alone != [each for (each,) in expected.values()]


def test_drafts_between_steps_are_of_these_features(target: StoredModel, draft: DraftModel) -> None:
    pool = CachePool(draft.stored.native, 1)
    sampled = np.zeros((FURTHER, 1, 1 + MOST), np.int32)
    behind = np.zeros((1 + FURTHER, 1, MOST), np.int32)
    features = np.zeros((1, 4 * HIDDEN), np.float32)
    steps = drafted(
        asked(draft, pool, feature_parts=[0, 3, 1]),
        texts_of(5, 6),
        chances=np.array([[[0.0] * 17, [0.0] * 17, [0.9] * 17]]),  # nothing is copied
        sampled=sampled,
        drafted=behind,
        features=features,
    )
    layers = [0, 1, 2]
    newest = step(target, steps, feature_layers=layers)
    assert steps.drafted_times == 1 + FURTHER
    text = [1, 2, newest[1]] if newest[0] == 2 else [1, newest[0]]
    for rows, guess in zip(sampled[:, 0].tolist(), behind[:, 0].tolist(), strict=False):
        right = sum(itertools.accumulate(map(int.__eq__, rows, guess), min))
        text += rows[: right + 1]
    expected = target.draft_features(text[:-1], layers)[-1]
    found = features.reshape(4, HIDDEN)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    assert behind[FURTHER, 0, 0] == likeliest(draft, text[-1], found[[0, 3, 1]])


def test_texts_repeat(target: StoredModel, draft: DraftModel) -> None:
    found = []
    for speculation in (NO_DRAFTS, MODEL_ALONE):
        decoding = Decoding(engine_with(speculation), target, draft)
        for index in range(3):
            policy = dataclasses.replace(GREEDY, temperature=float(index), seed=index)
            decoding.begin(policy, PROMPT[index:])
        found.append(decoding.run(40))
    assert found[0] == found[1]
    assert decoding.engine.speculation_metrics().drafted > 40


@pytest.mark.parametrize("layers", [(1, 1), (-1,), tuple(range(9)), (0.5,)])
def test_layers_that_are_none_are_refused(tmp_path: Path, layers: tuple[int, ...]) -> None:
    path = TinyModel("realm-draft", feature_layers=layers).write(tmp_path / "draft.gguf")
    with pytest.raises(ArchitectureError, match="feature_layers"):
        ModelStorage(1).load(path)


def test_layers_that_the_target_lacks_are_refused(target: StoredModel, load_tiny: Loader) -> None:
    other = load_tiny(architecture="realm-draft", feature_layers=(0, LAYERS))
    with pytest.raises(DraftMismatchError, match=r"of layer 3, .* has 3 layers"):
        match_draft(target, other)


def test_what_the_native_core_refuses(target: StoredModel, draft: DraftModel) -> None:
    pool = CachePool(draft.stored.native, 1)
    with pytest.raises(NativeError, match="features that are not there"):
        step(target, drafted(asked(draft, pool, feature_parts=[0, 1, 2])), feature_layers=[])
    with pytest.raises(NativeError, match="other parts"):
        asked(draft, pool, feature_parts=[0])
    for layers in ([LAYERS], [-1], [1, 0], [1, 1]):
        with pytest.raises(NativeError, match="out of range"):
            step(target, drafted(None), feature_layers=layers)
    with pytest.raises(NativeError, match="another size"):
        step(target, drafted(None), feature_layers=[1])
