"""Steps that follow one in its native call, with drafts between them: the same texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from tests.engine.changes import assert_goes_on_as, fork, other_policy, other_tokens, rewind
from tests.engine.conftest import Loader
from tests.engine.decoding import GREEDY, PROMPT, Decoding
from tests.engine.test_joined_steps import NO_DRAFTS, POLICIES
from tests.random_adapters import random_adapter
from tests.tiny_model import VOCABULARY

from realm.config import EngineConfig, SpeculativeConfig
from realm.engine import Engine
from realm.engine.drafter import Drafter
from realm.engine.feature_drafts import FeatureDrafts
from realm.engine.joining import STEADY_TOKENS, _rows_for_all
from realm.engine.speculation import MEASURED_ROWS, Calibration, DraftGate, RowCost, Source
from realm.errors import NativeError
from realm.kernels import CachePool, DraftedSteps, Interrupt, Team
from realm.model import DraftModel, StoredModel, WeightedAdapter, match_draft

MODEL_ALONE = SpeculativeConfig(draft_k=3, suffix=False, history_tokens=0)
COUNT = 60


@pytest.fixture(autouse=True)
def cheap_drafts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Drafter, "relative_cost", 0.01)


@pytest.fixture
def pair(load_tiny: Loader, isa: str) -> tuple[StoredModel, DraftModel]:
    """A target, and a draft that is always right about it."""
    target = load_tiny(isa, looks_back=False)
    return target, match_draft(target, load_tiny(isa, architecture="realm-draft", looks_back=False))


def engine_with(
    speculation: SpeculativeConfig = MODEL_ALONE, joined_seconds: float = 1000.0, **limits: float
) -> Engine:
    """No time passes, and steps are joined whatever they take."""
    return Engine(
        EngineConfig(
            threads=2,
            cache_bytes=64 << 20,
            joined_seconds=joined_seconds,
            speculation=speculation,
            **limits,
        )
    )


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("batch", [1, 2, 4])
def test_texts_repeat(pair: tuple[StoredModel, DraftModel], name: str, batch: int) -> None:
    target, draft = pair
    packed = target.pack_adapter(random_adapter(target.adapter_base, rank=8))
    found = []
    for speculation in (NO_DRAFTS, MODEL_ALONE):
        decoding = Decoding(engine_with(speculation, 0.0 if not found else 1000.0), target, draft)
        for index in range(batch):
            policy = dataclasses.replace(POLICIES[name], seed=index)
            adapters = (WeightedAdapter(packed, 0.5),) if index % 3 == 1 else ()
            decoding.begin(policy, PROMPT[index:], adapters)
        found.append(decoding.run(COUNT))
    assert found[0] == found[1]
    counts = decoding.engine.speculation_metrics().by_source[Source.MODEL]
    assert counts.accepted > 0
    assert decoding.calls < decoding.engine.step_count <= COUNT
    if batch == 1:
        assert decoding.engine.step_count + counts.accepted == COUNT  # nothing in vain, all counted
        if name == "greedy":
            assert counts.accepted == counts.drafted


def test_a_draft_that_is_wrong_changes_nothing(
    load_tiny: Loader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Calibration, "chances", lambda *_: (0.9,) * 17)
    monkeypatch.setattr(Calibration, "chance", lambda *_: 0.9)
    monkeypatch.setattr(DraftGate, "chance", 0.9)
    model = load_tiny()
    draft = match_draft(model, load_tiny(architecture="realm-draft"))
    for policy in POLICIES.values():
        found = []
        for speculation in (NO_DRAFTS, MODEL_ALONE):
            decoding = Decoding(engine_with(speculation), model, draft)
            for index in range(3):
                decoding.begin(dataclasses.replace(policy, seed=index), PROMPT[index:])
            found.append(decoding.run(COUNT))
        assert found[0] == found[1]
        metrics = decoding.engine.speculation_metrics()
        assert metrics.drafted > COUNT + metrics.accepted


def test_the_draft_is_asked_once(
    pair: tuple[StoredModel, DraftModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was drafted behind the last step of a call is there for the next one."""
    asked = []
    draw = FeatureDrafts._draw

    def watched(self: FeatureDrafts, *arguments: object) -> int:
        asked.append(len(decoding.tokens[number]))
        return draw(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(FeatureDrafts, "_draw", watched)
    decoding = Decoding(engine_with(), *pair)
    number = decoding.begin()
    decoding.run(COUNT)
    assert asked[0] < STEADY_TOKENS  # until it joins
    assert max(asked) <= 2 * STEADY_TOKENS


def test_no_more_than_is_wanted(pair: tuple[StoredModel, DraftModel]) -> None:
    for count in range(STEADY_TOKENS + 1, STEADY_TOKENS + 30):
        decoding = Decoding(engine_with(), *pair)
        number = decoding.begin()
        decoding.run(count)
        assert len(decoding.sequence(number).ahead) <= MODEL_ALONE.draft_k


def test_more_is_wanted_than_a_native_number_holds(pair: tuple[StoredModel, DraftModel]) -> None:
    target, draft = pair
    engine = engine_with()
    number = engine.open(target, "a", draft=draft)
    engine.append(number, PROMPT)
    for _ in range(COUNT):
        engine.sample(number, GREEDY, more=2**40)
        engine.step()
    assert engine.speculation_metrics().accepted > 0


@pytest.mark.parametrize("other", [{"draft_k": 0}, {"draft_k": 4}])
def test_who_has_no_draft_model_is_not_drafted_for(
    pair: tuple[StoredModel, DraftModel], other: dict[str, int]
) -> None:
    target, draft = pair
    decoding = Decoding(engine_with(), target, draft)
    number = decoding.begin()
    engine = decoding.engine
    second = engine.open(target, "b", **other)  # type: ignore[arg-type]
    engine.append(second, PROMPT[3:])
    decoding.tokens[second], decoding.policies[second] = [], GREEDY
    decoding.run(COUNT)
    drafter = decoding.sequence(number).drafter
    assert isinstance(drafter, FeatureDrafts) and drafter.is_alive
    assert second not in {*drafter._left_over, *drafter._stand_ins}
    engine.close(number)
    assert not drafter._left_over and not drafter._stand_ins


def test_who_is_cut_short_is_not_drafted_for(pair: tuple[StoredModel, DraftModel]) -> None:
    """Twelve sequences of one owner crowd the other's one, which alone is drafted for."""
    target, draft = pair
    decoding = Decoding(engine_with(crowding=0.05), target, draft)
    number = decoding.begin()
    engine = decoding.engine
    for index in range(12):
        each = engine.open(target, "crowd", draft_k=0)
        engine.append(each, PROMPT[index:])
        decoding.tokens[each], decoding.policies[each] = [], GREEDY
    decoding.run(COUNT)
    drafter = decoding.sequence(number).drafter
    assert isinstance(drafter, FeatureDrafts) and drafter.is_alive
    assert {*drafter._left_over, *drafter._stand_ins} <= {number}
    assert engine.speculation_metrics("a").accepted > 0


def test_drafts_leave_every_owner_a_share() -> None:
    cost = RowCost({rows: 1.0 + 0.02 * rows for rows in MEASURED_ROWS})
    assert _rows_for_all(cost, 2, 64) == 5  # 1.04 / 0.9 is what seven rows take
    assert _rows_for_all(cost, 2, 3) == 3
    assert _rows_for_all(cost, 64, 0) == 0


def test_nothing_follows_the_end_of_a_text(pair: tuple[StoredModel, DraftModel]) -> None:
    target, draft = pair
    (end,) = target.tokenizer.end_of_generation_ids
    decoding = Decoding(engine_with(), target, draft)
    decoding.begin(dataclasses.replace(GREEDY, logit_bias=((end, 1000.0),)))
    assert decoding.run(COUNT) == [[end] * COUNT]
    assert decoding.calls == decoding.engine.step_count


def test_an_interrupt_ends_it(pair: tuple[StoredModel, DraftModel]) -> None:
    decoding = Decoding(engine_with(), *pair)
    decoding.begin()
    decoding.engine.interrupt.set()
    decoding.run(COUNT)
    assert decoding.calls == decoding.engine.step_count


def test_time_is_limited(pair: tuple[StoredModel, DraftModel]) -> None:
    decoding = Decoding(engine_with(joined_seconds=1.2), *pair)  # one step takes a second
    decoding.begin()
    decoding.run(COUNT)
    assert decoding.calls == decoding.engine.step_count


def test_the_context_is_limited(pair: tuple[StoredModel, DraftModel]) -> None:
    target, draft = pair
    decoding = Decoding(engine_with(context_length=len(PROMPT) + COUNT), target, draft)
    decoding.begin()
    (found,) = decoding.run(COUNT)
    plain = Decoding(engine_with(NO_DRAFTS), target)
    plain.begin()
    assert plain.run(COUNT) == [found]


def test_a_text_that_repeats_itself_drafts_for_itself(
    pair: tuple[StoredModel, DraftModel],
) -> None:
    """Drafts that are copied are longer than a model's, and no native step knows them."""
    decoding = Decoding(engine_with(SpeculativeConfig(draft_k=12)), *pair)
    number = decoding.begin(prompt=[*PROMPT, *PROMPT, *PROMPT])
    speculation = decoding.sequence(number).speculation
    assert speculation is not None
    speculation.copied = 1.0
    decoding.run(3 * STEADY_TOKENS)
    assert decoding.calls == decoding.engine.step_count


def test_a_draft_that_cannot_begin_is_left_alone(
    pair: tuple[StoredModel, DraftModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise NativeError("no")

    monkeypatch.setattr("realm.engine.feature_drafts.open_drafted_call", fails)
    decoding = Decoding(engine_with(), *pair)
    number = decoding.begin()
    (found,) = decoding.run(COUNT)
    drafter = decoding.sequence(number).drafter
    assert drafter is not None and not drafter.is_alive
    plain = Decoding(engine_with(NO_DRAFTS), pair[0])
    plain.begin()
    assert plain.run(COUNT) == [found]


def go_on(engine: Engine, number: int) -> int:
    return number


@pytest.mark.parametrize("change", [go_on, other_policy, other_tokens, rewind, fork])
def test_what_changes_while_tokens_are_ahead(
    pair: tuple[StoredModel, DraftModel], change: Callable[[Engine, int], int]
) -> None:
    target, draft = pair
    engine = engine_with()
    number = engine.open(target, "a", draft=draft)
    engine.append(number, PROMPT)
    sequence = engine._find(number)[1]
    while len(sequence.ahead) <= MODEL_ALONE.draft_k:  # more than one step brings
        engine.sample(number, GREEDY, more=50)
        engine.step()
    assert sequence.ahead
    changed = change(engine, number)
    assert_goes_on_as(engine, changed, engine_with(NO_DRAFTS), target, 30)


def test_features_are_those_of_the_newest_tokens(pair: tuple[StoredModel, DraftModel]) -> None:
    target, draft = pair
    engine = engine_with()
    number = engine.open(target, "a", draft=draft)
    engine.append(number, PROMPT)
    looked_at = 0
    for _ in range(COUNT):
        engine.sample(number, GREEDY, more=20)
        engine.step()
        feature = engine.feature(number)
        if feature is not None:
            expected = target.features(engine._find(number)[1].tokens[:-1])[-1]
            assert np.abs(feature - expected).max() < 1e-4 * np.abs(expected).max()
            looked_at += 1
    assert 0 < looked_at < COUNT // 2


# ---- What the native core takes ----

FURTHER, MOST, PAGES = 2, 3, 4
WORDS = -(-VOCABULARY // 32)


def drafted(draft: DraftModel, pool: CachePool, **changes: object) -> DraftedSteps:
    arguments = {
        "page_table": np.zeros((1, 1), np.int32),
        "from_target": None,
        "to_target": None,
        "sampling_floats": np.zeros((1, 7), np.float32),
        "sampling_integers": np.array([[1, 0, 0, 0, 0, 0, 0, 0, 0, -1, 0]], np.int64),
        "history": np.zeros(0, np.int32),
        "logprobs": np.zeros((MOST, 1), np.float32),
        "logprob_tokens": np.zeros((MOST, 1), np.int32),
        "chances": np.ones((1, 17), np.float32),
        "costs": np.ones(1 + MOST, np.float32),
        "wanted": np.array([40], np.int32),
        "least": 1e-9,
        "most_rows": 64,
        "sampled": np.zeros((FURTHER, 1, 1 + MOST), np.int32),
        "drafted": np.zeros((1 + FURTHER, 1, MOST), np.int32),
        "probabilities": np.zeros((1 + FURTHER, 1, MOST), np.float32),
        "features": np.zeros((1, 96), np.float32),
        **changes,
    }
    return DraftedSteps(draft.stored.native, pool, **arguments)  # type: ignore[arg-type]


def step(target: StoredModel, steps: DraftedSteps, **changes: object) -> None:
    arguments = {
        "tokens": np.array([1, 2], np.int32),
        "page_table": np.arange(PAGES, dtype=np.int32).reshape(1, PAGES),
        "segments": np.array([(0, 0, 2)], np.int32),
        "layer_begin": 0,
        "layer_end": target.hyperparameters.layer_count,
        "logit_rows": np.array([0, 1], np.int32),
        "sampling_floats": np.zeros((2, 7), np.float32),
        "sampling_integers": np.array(
            [[1, 0, 0, 1 + row, 0, 0, 0, 0, 0, -1, -1] for row in range(2)], np.int64
        ),
        "history": np.zeros(0, np.int32),
        **changes,
    }
    pool = CachePool(target.native, PAGES)
    target.native.step(pool, Team(1), drafted=steps, **arguments)  # type: ignore[arg-type]


@pytest.fixture
def native(load_tiny: Loader) -> tuple[StoredModel, DraftModel, CachePool]:
    target = load_tiny(looks_back=False)
    draft = match_draft(target, load_tiny(architecture="realm-draft", looks_back=False))
    return target, draft, CachePool(draft.stored.native, 1)


def test_every_step_is_written(native: tuple[StoredModel, DraftModel, CachePool]) -> None:
    target, draft, pool = native
    sampled = np.zeros((FURTHER, 1, 1 + MOST), np.int32)
    behind = np.zeros((1 + FURTHER, 1, MOST), np.int32)
    steps = drafted(draft, pool, sampled=sampled, drafted=behind)
    step(target, steps)
    assert (steps.drafted_times, steps.draft_steps) == (1 + FURTHER, (1 + FURTHER) * MOST)
    assert (sampled >= 0).all() and (behind >= 0).all()
    assert (sampled[:, 0, :MOST] == behind[:FURTHER, 0]).all()  # all of it was right
    interrupt = Interrupt()
    interrupt.set()
    steps = drafted(draft, pool, sampled=sampled, drafted=behind)
    step(target, steps, interrupt=interrupt)
    assert steps.drafted_times == 0
    assert (sampled == -1).all() and (behind == -1).all()


def test_no_more_rows_than_allowed(native: tuple[StoredModel, DraftModel, CachePool]) -> None:
    target, draft, pool = native
    for changes, expected in (
        ({"most_rows": 0}, 0), ({"most_rows": 2}, 2), ({"chances": np.zeros((1, 17))}, 0),
        ({"chances": np.full((1, 17), 0.01), "least": 5e-5}, 2), ({"wanted": np.array([2])}, 1),
        ({"costs": np.array([1, 2.5, 2.9, 4.1])}, 2), ({"costs": np.array([1, 2, 3, 4])}, 0),
    ):  # fmt: skip
        kinds = {"chances": np.float32, "costs": np.float32, "wanted": np.int32}
        given = {
            name: np.asarray(each, kinds[name]) if name in kinds else each
            for name, each in changes.items()
        }
        sampled = np.zeros((FURTHER, 1, 1 + MOST), np.int32)
        step(target, drafted(draft, pool, sampled=sampled, **given))
        assert (sampled[0, 0] >= 0).sum() == 1 + expected, changes


@pytest.mark.parametrize(
    "changes",
    [
        {"page_table": np.zeros((0, 1), np.int32)},
        {"page_table": np.full((1, 1), 1, np.int32)},
        {"from_target": np.zeros(VOCABULARY, np.int32)},
        {"to_target": np.zeros(VOCABULARY, np.int32)},
        {
            "from_target": np.full(VOCABULARY, VOCABULARY, np.int32),
            "to_target": np.zeros(VOCABULARY, np.int32),
        },
        {
            "from_target": np.zeros(VOCABULARY, np.int32),
            "to_target": np.zeros(VOCABULARY - 1, np.int32),
        },
        {"sampling_floats": np.zeros((2, 7), np.float32)},
        {"sampling_integers": np.array([[0, 0, 0, 0, 0, 0, 0, 0, 0, -1, 0]], np.int64)},
        {"sampling_integers": np.array([[1, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1]], np.int64)},
        {
            "sampling_integers": np.array([[1, 0, 0, 0, 0, 1, 0, 0, 0, -1, 0]], np.int64),
            "history": np.zeros(1, np.int32),
        },
        {"logprobs": np.zeros((2, 1), np.float32), "logprob_tokens": np.zeros((2, 1), np.int32)},
        {"chances": np.ones((2, 17), np.float32)},
        {"chances": np.ones((1, 0), np.float32)},
        {"costs": np.ones(MOST, np.float32)},
        {"costs": np.array([1, 1, 0, 1], np.float32)},
        {"costs": np.array([1, 1, np.inf, 1], np.float32)},
        {"wanted": np.zeros(0, np.int32)},
        {"wanted": np.zeros(2, np.int32)},
        {"wanted": np.array([-1], np.int32)},
        {"wanted": np.array([2**31 - 1], np.int32)},
        {"least": 0.0},
        {"most_rows": -1},
        {"sampled": np.zeros((FURTHER, 1, MOST), np.int32)},
        {"sampled": np.zeros((65, 1, 1 + MOST), np.int32)},
        {"drafted": np.zeros((FURTHER, 1, MOST), np.int32)},
        {"probabilities": np.zeros((FURTHER, 1, MOST), np.float32)},
        {"features": np.zeros((1, 64), np.float32)},
    ],
)
def test_drafts_that_are_refused(
    native: tuple[StoredModel, DraftModel, CachePool], changes: dict[str, object]
) -> None:
    _, draft, pool = native
    with pytest.raises(NativeError):
        drafted(draft, pool, **changes)


def test_what_reads_no_features_drafts_nothing(
    native: tuple[StoredModel, DraftModel, CachePool],
) -> None:
    target = native[0]
    with pytest.raises(NativeError, match="features"):
        drafted(match_draft(target, target), CachePool(target.native, 1))


MASKED = np.array([[1, 0, 0, 1, 0, 0, 0, 0, 0, 0, -1]] * 2, np.int64)


@pytest.mark.parametrize(
    "changes",
    [
        {"segments": np.array([(0, 0, 1), (0, 1, 1)], np.int32)},
        {"layer_end": 1},
        {"logit_rows": np.array([1], np.int32)},
        {"logit_rows": np.array([1, 0], np.int32)},
        {"sampling_floats": None, "sampling_integers": None, "history": None},
        {"sampling_integers": MASKED, "allowed": np.zeros((1, WORDS), np.uint32)},
        {"page_table": np.zeros((1, 1), np.int32), "segments": np.array([(0, 24, 2)], np.int32)},
        {"following": np.zeros((1, 1), np.int32)},
        {"features_out": np.zeros((2, 96), np.float32)},
    ],
)
def test_steps_that_drafts_cannot_follow(
    native: tuple[StoredModel, DraftModel, CachePool], changes: dict[str, object]
) -> None:
    target, draft, pool = native
    with pytest.raises(NativeError):
        step(target, drafted(draft, pool), **changes)


def test_a_target_that_the_draft_does_not_fit(
    native: tuple[StoredModel, DraftModel, CachePool], load_tiny: Loader
) -> None:
    _, draft, pool = native
    with pytest.raises(NativeError, match="another size"):
        step(load_tiny(hidden=128, heads=4), drafted(draft, pool))
