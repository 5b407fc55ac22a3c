"""Steps that follow one in its native call, with drafts between them: the same texts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.engine.changes import assert_goes_on_as, fork, other_policy, other_tokens, rewind
from tests.engine.conftest import Loader
from tests.engine.decoding import GREEDY, PROMPT, Decoding
from tests.engine.test_joined_steps import NO_DRAFTS, POLICIES
from tests.random_adapters import random_adapter
from tests.tiny_model import VOCABULARY

from realm.config import EngineConfig, SpeculativeConfig
from realm.engine import Engine, model_step
from realm.engine.drafted_steps import DraftedLimits
from realm.engine.drafter import Drafter
from realm.engine.feature_drafts import FeatureDrafts
from realm.engine.joining import MOST_STEPS, STEADY_TOKENS
from realm.engine.speculation import Calibration, DraftGate, Payback, Source
from realm.errors import NativeError
from realm.kernels import (
    PAGE_TOKENS,
    CachePool,
    DraftedSteps,
    FeatureDraft,
    Interrupt,
    SequenceTexts,
    Team,
    TokenIndex,
)
from realm.model import DraftModel, StoredModel, WeightedAdapter, match_draft

MODEL_ALONE = SpeculativeConfig(draft_k=3, suffix=False, history_tokens=0)
TEXTS = SpeculativeConfig(draft_k=12)
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


@pytest.mark.parametrize(
    "engine",
    [
        lambda: engine_with(dataclasses.replace(MODEL_ALONE, max_draft_tokens=1)),
        lambda: engine_with(step_tokens=5, prefill_chunk_tokens=5),
        lambda: engine_with(step_tokens=4, prefill_chunk_tokens=4),
    ],
)
def test_a_step_has_no_room_for_a_whole_draft(
    pair: tuple[StoredModel, DraftModel], engine: Callable[[], Engine]
) -> None:
    found = []
    for each in (engine_with(NO_DRAFTS), engine()):
        decoding = Decoding(each, *pair)
        for index in range(4):
            decoding.begin(prompt=PROMPT[index:])
        found.append(decoding.run(COUNT))
    assert found[0] == found[1]


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
    plain = Decoding(engine_with(NO_DRAFTS, 0.0), target)
    for prompt in (PROMPT, PROMPT[3:]):
        plain.begin(prompt=prompt)
    assert decoding.run(COUNT) == plain.run(COUNT)
    drafter = decoding.sequence(number).drafter
    assert isinstance(drafter, FeatureDrafts) and drafter.is_alive
    assert second not in {*drafter._left_over, *drafter._stand_ins}
    # And it keeps nobody from steps with drafts that follow at once.
    assert engine.speculation_metrics("a").accepted > 0
    assert engine.speculation_metrics("b").drafted == 0
    assert decoding.calls < engine.step_count <= COUNT
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


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[DraftedLimits]:
    """What was planned of steps with drafts between them."""
    found: list[DraftedLimits] = []
    plan = model_step.plan_drafted_steps

    def watched(*arguments: Any) -> DraftedLimits | None:
        limits = plan(*arguments)
        found.extend([] if limits is None else [limits])
        return limits

    monkeypatch.setattr(model_step, "plan_drafted_steps", watched)
    return found


def test_drafts_bring_what_payback_demands(
    pair: tuple[StoredModel, DraftModel],
    planned: list[DraftedLimits],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Payback, "demand", 1.25)
    decoding = Decoding(engine_with(), *pair)
    decoding.begin()
    decoding.run(COUNT)
    assert {each.least_gain for each in planned} == {1.25}
    assert decoding.calls < decoding.engine.step_count


def test_pages_are_kept_for_each_ones_own_rows(
    pair: tuple[StoredModel, DraftModel], planned: list[DraftedLimits]
) -> None:
    """One may have long drafts, three none: there are not the pages for as many rows of all."""
    target, draft = pair
    longest, texts = 60, 4 * -(-(len(PROMPT) + COUNT + MOST_STEPS) // PAGE_TOKENS)
    pages = texts + 2 * MOST_STEPS * longest // PAGE_TOKENS
    config = EngineConfig(
        threads=2,
        cache_bytes=pages * target.native.page_bytes(),
        joined_seconds=1000.0,
        speculation=SpeculativeConfig(draft_k=longest, suffix=False, history_tokens=0),
    )
    decoding = Decoding(Engine(config), target, draft)
    number = decoding.begin()
    owner = decoding.sequence(number).owner
    for index in range(3):
        number = decoding.engine.open(target, owner, draft_k=0)
        decoding.engine.append(number, PROMPT[index:])
        decoding.tokens[number], decoding.policies[number] = [], GREEDY
    decoding.run(COUNT)
    assert any(each.further == MOST_STEPS - 1 and each.width == longest for each in planned)


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


@pytest.mark.parametrize("has_draft", [False, True])
@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("batch", [1, 3])
def test_texts_are_copied_between_steps(
    pair: tuple[StoredModel, DraftModel], name: str, batch: int, has_draft: bool
) -> None:
    target, draft = pair
    found, policy = [], POLICIES[name]
    for speculation in (NO_DRAFTS, TEXTS):
        decoding = Decoding(engine_with(speculation), target, draft if has_draft else None)
        for _ in range(2):  # the second time from the outputs of the first
            numbers = [
                decoding.begin(dataclasses.replace(policy, seed=index), [*PROMPT[index:], *PROMPT])
                for index in range(batch)
            ]
            found.append(decoding.run(COUNT))
            for number in numbers:
                assert speculation is NO_DRAFTS or texts_follow(decoding, number)
                decoding.end(number)
    assert found[:2] == found[2:]
    metrics = decoding.engine.speculation_metrics()
    assert metrics.accepted > COUNT // 2
    assert has_draft == (Source.MODEL in metrics.by_source)
    assert decoding.calls < decoding.engine.step_count
    if batch == 1:
        assert decoding.engine.step_count + metrics.accepted >= 2 * COUNT


def texts_follow(decoding: Decoding, number: int) -> bool:
    """Whether what it copies from is its tokens, and nothing that is ahead of it."""
    sequence = decoding.sequence(number)
    assert sequence.speculation is not None
    texts = sequence.speculation._texts
    return len(texts) <= len(sequence.tokens) and texts.tokens == sequence.tokens[: len(texts)]


def test_a_copy_between_steps_is_of_its_owner_alone(
    pair: tuple[StoredModel, DraftModel],
) -> None:
    target, _ = pair
    engine, policy = engine_with(SpeculativeConfig(draft_k=2, suffix=False)), POLICIES["sampled"]
    for owner in ("a", "b"):
        decoding = Decoding(engine, target)
        number = decoding.begin(policy, owner=owner)
        decoding.run(COUNT)
        decoding.end(number)
        assert engine.speculation_metrics(owner).drafted == 0
    step_count = engine.step_count
    again = Decoding(engine, target)
    again.begin(policy)
    again.run(COUNT)
    assert engine.speculation_metrics("a").by_source[Source.HISTORY].accepted > COUNT // 2
    assert engine.speculation_metrics("b").drafted == 0
    assert again.calls < engine.step_count - step_count


def test_a_draft_that_cannot_begin_is_left_alone(
    pair: tuple[StoredModel, DraftModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise NativeError("no")

    monkeypatch.setattr(FeatureDrafts, "rows_for", fails)
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
    number = engine.open(target, "a", draft=draft, feature_layers=())
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
CERTAIN = np.ones((1, 3, 17))


def asked(draft: DraftModel, pool: CachePool, **changes: object) -> FeatureDraft:
    arguments = {
        "page_table": np.zeros((1, 1), np.int32),
        "from_target": None,
        "to_target": None,
        "sampling_floats": np.zeros((1, 7), np.float32),
        "sampling_integers": np.array([[1, 0, 0, 0, 0, 0, 0, 0, 0, -1, 0]], np.int64),
        "history": np.zeros(0, np.int32),
        "logprobs": np.zeros((MOST, 1), np.float32),
        "logprob_tokens": np.zeros((MOST, 1), np.int32),
        "expected": np.ones(1),
        "most": MOST,
        "least": 1e-9,
        "seconds": 0.0,
        **changes,
    }
    return FeatureDraft(draft.stored.native, pool, **arguments)  # type: ignore[arg-type]


def texts_of(*tokens: int) -> SequenceTexts:
    texts = SequenceTexts(64, True, TokenIndex())
    texts.match(list(tokens))
    return texts


def drafted(draft: FeatureDraft | None, *texts: SequenceTexts, **changes: object) -> DraftedSteps:
    texts = texts or (texts_of(),)
    count = len(texts)
    arguments = {
        "sequences": np.array([[40, MOST, 0]] * count, np.int32),
        "owner_rows": np.array([count], np.int32),
        "chances": np.repeat(CERTAIN, count, axis=0),
        "seconds": np.ones(1 + MOST),
        "most_seconds": 1e9,
        "least": 0.0,
        "least_gain": 1.0,
        "least_share": 0.9,
        "sampled": np.zeros((FURTHER, count, 1 + MOST), np.int32),
        "sources": np.zeros((1 + FURTHER, count), np.int32),
        "drafted": np.zeros((1 + FURTHER, count, MOST), np.int32),
        "grades": np.zeros((1 + FURTHER, count, MOST), np.int32),
        "features": np.zeros((count, 96), np.float32),
        "durations": np.zeros(2 + FURTHER),
        **changes,
    }
    return DraftedSteps(draft, list(texts), **arguments)  # type: ignore[arg-type]


def step(target: StoredModel, steps: DraftedSteps, **changes: object) -> list[int]:
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
    sampled = target.native.step(pool, Team(1), drafted=steps, **arguments)  # type: ignore[arg-type]
    return sampled.tolist()


@pytest.fixture
def native(load_tiny: Loader) -> tuple[StoredModel, DraftModel, CachePool]:
    target = load_tiny(looks_back=False)
    draft = match_draft(target, load_tiny(architecture="realm-draft", looks_back=False))
    return target, draft, CachePool(draft.stored.native, 1)


def test_every_step_is_written(native: tuple[StoredModel, DraftModel, CachePool]) -> None:
    target, draft, pool = native
    sampled = np.zeros((FURTHER, 1, 1 + MOST), np.int32)
    behind = np.zeros((1 + FURTHER, 1, MOST), np.int32)
    sources = np.zeros((1 + FURTHER, 1), np.int32)
    texts = texts_of(5, 6)
    durations = np.zeros(2 + FURTHER)
    arrays = {"sampled": sampled, "drafted": behind, "sources": sources, "durations": durations}
    steps = drafted(asked(draft, pool), texts, **arrays)
    step(target, steps)
    assert (steps.drafted_times, steps.draft_steps) == (1 + FURTHER, (1 + FURTHER) * MOST)
    assert (sampled >= 0).all() and (behind >= 0).all() and (sources == 2).all()
    assert (sampled[:, 0, :MOST] == behind[:FURTHER, 0]).all()  # all of it was right
    assert texts.tokens == [5, 6]
    assert (durations > 0.0).all()
    interrupt = Interrupt()
    interrupt.set()
    steps = drafted(asked(draft, pool), **arrays)
    step(target, steps, interrupt=interrupt)
    assert steps.drafted_times == 0
    assert (sampled == -1).all() and (behind == -1).all() and (sources == -1).all()
    assert durations[0] > 0.0 and not durations[1:].any()


def test_the_likelier_draft_is_taken(native: tuple[StoredModel, DraftModel, CachePool]) -> None:
    """A text that goes on as the target does, or would, against the model's draft."""
    target, draft, pool = native
    sampled = np.zeros((FURTHER, 1, 1 + MOST), np.int32)
    step(target, drafted(asked(draft, pool), sampled=sampled))
    newest = step(target, drafted(None))[0]
    coming = sampled[0, 0].tolist()
    for chances, expected, source in ((0.9, 4.0, 2), (0.9, 1.0, 0), (0.1, 1.0, 2), (0.1, 0.0, 0)):
        sources = np.zeros((1 + FURTHER, 1), np.int32)
        grades = np.zeros((1 + FURTHER, 1, MOST), np.int32)
        steps = drafted(
            asked(draft, pool, expected=np.array([expected])),
            texts_of(7, newest, *coming, 9, 9, 7),
            chances=np.array([[[chances] * 17, [0.0] * 17, [0.95] * 17]]),
            sources=sources,
            grades=grades,
            sampled=sampled,
        )
        step(target, steps)
        assert sources[0, 0] == source
        assert sampled[0, 0].tolist() == coming
        assert source == 2 or grades[0, 0].tolist() == [2, 3, 4]


def test_drafts_bring_what_is_demanded(native: tuple[StoredModel, DraftModel, CachePool]) -> None:
    target, draft, pool = native
    for least_gain, verified in ((1.0 + 0.99 * MOST, MOST), (1.01 + MOST, 0)):
        sampled = np.zeros((FURTHER, 1, 1 + MOST), np.int32)
        steps = drafted(asked(draft, pool), least_gain=least_gain, sampled=sampled)
        step(target, steps)
        assert ((sampled[:, 0] >= 0).sum(1) == 1 + verified).all()


def test_drafts_are_for_one_step(native: tuple[StoredModel, DraftModel, CachePool]) -> None:
    target, _, _ = native
    steps = drafted(None)
    step(target, steps)
    with pytest.raises(NativeError, match="each step needs its own"):
        step(target, steps)


def test_no_more_rows_than_allowed(native: tuple[StoredModel, DraftModel, CachePool]) -> None:
    target, draft, pool = native
    for changes, expected in (
        ({"seconds": np.ones(1)}, 0), ({"seconds": np.ones(3)}, 2), ({"chances": 0 * CERTAIN}, 0),
        ({"chances": 0.01 * CERTAIN, "asked": 5e-5}, 2), ({"sequences": [[2, MOST, 0]]}, 1),
        ({"sequences": [[40, 1, 0]]}, 1), ({"sequences": [[40, 0, 0]]}, 0),
        ({"seconds": np.array([1, 2.5, 2.9, 4.1])}, 2), ({"seconds": np.array([1, 2, 3, 4])}, 0),
        ({"most_seconds": 0.5}, None), ({"most_seconds": 1.5, "draft_seconds": 1.0}, None),
    ):  # fmt: skip
        least, seconds = changes.pop("asked", 1e-9), changes.pop("draft_seconds", 0.0)
        if "sequences" in changes:
            changes["sequences"] = np.array(changes["sequences"], np.int32)
        sampled = np.zeros((FURTHER, 1, 1 + MOST), np.int32)
        rows = asked(draft, pool, least=least, seconds=seconds)
        step(target, drafted(rows, sampled=sampled, **changes))
        count = None if sampled[0, 0, 0] < 0 else (sampled[0, 0] >= 0).sum() - 1
        assert count == expected, changes


def test_a_copied_token_must_be_likely_and_one_of_the_targets(
    native: tuple[StoredModel, DraftModel, CachePool],
) -> None:
    target = native[0]
    newest = step(target, drafted(None))[0]
    for token, chance, taken in ((3, 0.5, True), (3, 0.1, False), (VOCABULARY, 0.5, False)):
        sources = np.zeros((1 + FURTHER, 1), np.int32)
        texts = texts_of(7, newest, token, 8, 7)
        step(target, drafted(None, texts, chances=chance * CERTAIN, least=0.2, sources=sources))
        assert (sources[0, 0] == 0) == taken


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
        {"expected": np.ones(0)},
        {"expected": np.ones(2)},
        {"expected": np.array([-1.0])},
        {"expected": np.array([np.nan])},
        {"most": 0},
        {"most": 32},
        {"least": 0.0},
        {"seconds": -1.0},
        {"seconds": np.inf},
    ],
)
def test_draft_models_that_are_refused(
    native: tuple[StoredModel, DraftModel, CachePool], changes: dict[str, object]
) -> None:
    _, draft, pool = native
    with pytest.raises(NativeError):
        asked(draft, pool, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"chances": np.ones((2, 3, 17))},
        {"chances": np.ones((1, 2, 17))},
        {"chances": np.ones((1, 3, 16))},
        {"chances": -CERTAIN},
        {"chances": np.nan * CERTAIN},
        {"seconds": np.ones(0)},
        {"seconds": np.array([1.0, 1.0, 0.0])},
        {"seconds": np.array([1.0, np.inf])},
        {"most_seconds": -1.0},
        {"least": np.nan},
        {"least_share": -1.0},
        {"sequences": np.zeros((0, 3), np.int32)},
        {"sequences": np.zeros((1, 2), np.int32)},
        {"sequences": np.array([[-1, MOST, 0]], np.int32)},
        {"sequences": np.array([[2**31 - 1, MOST, 0]], np.int32)},
        {"sequences": np.array([[40, -1, 0]], np.int32)},
        {"sequences": np.array([[40, 1 + MOST, 0]], np.int32)},
        {"sequences": np.array([[40, MOST, 1]], np.int32)},
        {"sequences": np.array([[40, MOST, -1]], np.int32)},
        {"owner_rows": np.zeros(0, np.int32)},
        {"owner_rows": np.zeros(1, np.int32)},
        {"sampled": np.zeros((FURTHER, 1, MOST), np.int32)},
        {"sampled": np.zeros((65, 1, 1 + MOST), np.int32)},
        {"sources": np.zeros((FURTHER, 1), np.int32)},
        {"drafted": np.zeros((FURTHER, 1, MOST), np.int32)},
        {"grades": np.zeros((FURTHER, 1, MOST), np.int32)},
        {"features": np.zeros((2, 96), np.float32)},
        {"durations": np.zeros(1 + FURTHER)},
    ],
)
def test_drafts_that_are_refused(
    native: tuple[StoredModel, DraftModel, CachePool], changes: dict[str, object]
) -> None:
    _, draft, pool = native
    for rows in (None, asked(draft, pool)):
        with pytest.raises(NativeError):
            drafted(rows, **changes)


def test_every_sequence_has_texts_of_its_own() -> None:
    texts = texts_of(1)
    drafted(None, texts, texts_of(1))
    with pytest.raises(NativeError, match="of its own"):
        drafted(None, texts, texts)


def test_what_reads_no_features_drafts_nothing(
    native: tuple[StoredModel, DraftModel, CachePool],
) -> None:
    target = native[0]
    with pytest.raises(NativeError, match="features"):
        asked(match_draft(target, target), CachePool(target.native, 1))


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
    for rows in (None, asked(draft, pool)):
        with pytest.raises(NativeError):
            step(target, drafted(rows), **changes)


def test_a_target_that_the_draft_does_not_fit(
    native: tuple[StoredModel, DraftModel, CachePool], load_tiny: Loader
) -> None:
    _, draft, pool = native
    features = np.zeros((1, 128), np.float32)
    with pytest.raises(NativeError, match="another size"):
        step(load_tiny(hidden=128, heads=4), drafted(asked(draft, pool), features=features))
    with pytest.raises(NativeError, match="another size"):
        step(load_tiny(hidden=128, heads=4), drafted(None))
