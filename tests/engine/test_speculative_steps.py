"""Drafts never change a token: engines with and without them, by every source, batch and policy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engine.changes import assert_goes_on_as, fork, other_policy, other_tokens, rewind
from tests.engine.conftest import Loader
from tests.random_adapters import random_adapter
from tests.tiny_model import VOCABULARY, TinyModel

import gguf
from realm.config import EngineConfig, SamplingParameters, SpeculativeConfig
from realm.engine import Engine, StepOutput
from realm.engine.drafter import Drafter
from realm.engine.speculation import Source
from realm.errors import ConstraintError, NativeError
from realm.model import (
    DraftModel,
    ModelStorage,
    StoredModel,
    WeightedAdapter,
    match_draft,
    vocabulary_digest,
)

OFF = SpeculativeConfig(draft_k=0)
PHRASE = [5, 9, 17, 33, 70, 12, 250, 41]
TEXT = [*range(40, 52), *PHRASE, *range(60, 66), *PHRASE, 77, *PHRASE[:3]]
GREEDY = SamplingParameters(temperature=0.0)
POLICIES = {
    "greedy": GREEDY,
    "sampled": SamplingParameters(temperature=0.7, seed=11, top_k=40),
    "cold": SamplingParameters(temperature=0.05, seed=3, logprobs=2),
    "penalties": SamplingParameters(
        temperature=0.2, seed=5, repetition_penalty=1.05, frequency_penalty=0.02
    ),
}
Answers = list[tuple[tuple[int, ...], object]]


@pytest.fixture
def cheap_drafts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a step of a draft model took next to nothing: it is asked whenever it may be."""
    monkeypatch.setattr(Drafter, "relative_cost", 0.01)


def decode(  # noqa: PLR0917
    engine: Engine,
    model: StoredModel,
    prompts: Sequence[Sequence[int]],
    policy: SamplingParameters,
    count: int,
    draft: DraftModel | None = None,
    adapters: Sequence[WeightedAdapter] = (),
) -> list[Answers]:
    """`count` tokens of each prompt, all at once: what came, and its log probabilities."""
    answers: dict[int, Answers] = {}
    policies: dict[int, SamplingParameters] = {}
    for index, ids in enumerate(prompts):
        number = engine.open(model, "a", adapters=adapters, draft=draft)
        engine.append(number, ids)
        policies[number] = dataclasses.replace(policy, seed=policy.seed + index)
        engine.sample(number, policies[number])
        answers[number] = []
    while any(len(each) < count for each in answers.values()):
        for output in engine.step():
            assert output.error is None
            answers[output.sequence].append((output.token_ids, output.logprobs))
            if len(answers[output.sequence]) < count:
                engine.sample(output.sequence, policies[output.sequence])
    for number in answers:
        engine.close(number)
    return list(answers.values())


def engine_with(config: SpeculativeConfig) -> Engine:
    return Engine(EngineConfig(threads=2, cache_bytes=64 << 20, speculation=config))


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("draft_k", range(1, 9))
def test_texts_repeat(load_tiny: Loader, name: str, draft_k: int) -> None:
    model = load_tiny()
    plain = decode(engine_with(OFF), model, [TEXT], POLICIES[name], 60)
    engine = engine_with(SpeculativeConfig(draft_k=draft_k))
    assert decode(engine, model, [TEXT], POLICIES[name], 60) == plain
    metrics = engine.speculation_metrics("a")
    assert metrics.drafted > 0
    if name != "sampled":
        assert metrics.accepted > 0
        assert engine.step_count < 60


@pytest.mark.usefixtures("cheap_drafts")
@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_a_model_drafts(load_tiny: Loader, name: str, batch: int) -> None:
    model = load_tiny()
    draft = match_draft(model, model)  # always right
    prompts = [TEXT[index : index + 20] for index in range(batch)]
    plain = decode(engine_with(OFF), model, prompts, POLICIES[name], 24)
    engine = engine_with(SpeculativeConfig(draft_k=5, suffix=False, history_tokens=0))
    assert decode(engine, model, prompts, POLICIES[name], 24, draft) == plain
    counts = engine.speculation_metrics().by_source
    if batch < 16:
        assert set(counts) == {Source.MODEL}
        assert counts[Source.MODEL].accepted > 0
        if name in {"greedy", "sampled"}:  # nothing but the draft's lack of penalties misleads it
            assert counts[Source.MODEL].accepted == counts[Source.MODEL].drafted


@pytest.mark.usefixtures("cheap_drafts")
@pytest.mark.parametrize("batch", [1, 2, 5, 16])
def test_every_source_under_adapters(load_tiny: Loader, batch: int) -> None:
    model = load_tiny()
    draft = match_draft(model, model)
    packed = model.pack_adapter(random_adapter(model.adapter_base, rank=8))
    adapters = [WeightedAdapter(packed, 0.5)]
    prompts = [TEXT[: 20 + index] for index in range(batch)]
    plain = decode(engine_with(OFF), model, prompts, GREEDY, 40, adapters=adapters)
    engine = engine_with(SpeculativeConfig(draft_k=6))
    for _ in range(2):  # the second time from the history too
        assert decode(engine, model, prompts, GREEDY, 40, draft, adapters) == plain
    assert engine.speculation_metrics().accepted > 0


def test_history_drafts_for_the_same_adapters_alone(load_tiny: Loader) -> None:
    model = load_tiny()
    packed = model.pack_adapter(random_adapter(model.adapter_base, rank=8))
    policy = SamplingParameters(temperature=1.0, seed=8)
    engine = engine_with(SpeculativeConfig(draft_k=4, suffix=False))
    first = decode(engine, model, [TEXT], policy, 30)
    assert engine.speculation_metrics().drafted == 0
    decode(engine, model, [TEXT], policy, 30, adapters=[WeightedAdapter(packed)])
    assert engine.speculation_metrics().drafted == 0
    assert decode(engine, model, [TEXT], policy, 30) == first
    assert engine.speculation_metrics().by_source[Source.HISTORY].accepted > 0


def test_one_owner_never_drafts_from_another(load_tiny: Loader) -> None:
    model = load_tiny()
    policy = SamplingParameters(temperature=1.0, seed=8)

    def run(engine: Engine, owner: str) -> tuple[int, int]:
        number = engine.open(model, owner)
        engine.append(number, TEXT)
        before = engine.step_count
        for _ in range(30):
            engine.sample(number, policy)
            engine.step()
        engine.close(number)
        return engine.step_count - before, engine.speculation_metrics(owner).drafted

    engine = engine_with(SpeculativeConfig(suffix=False))
    assert run(engine, "a") == (30, 0)
    assert run(engine, "b") == (30, 0)  # the same text, which only "a" has put out before
    steps, drafted = run(engine, "a")
    assert steps < 30 and drafted > 0
    engine.forget_texts("a")
    drafted = engine.speculation_metrics("a").drafted
    assert run(engine, "a") == (30, drafted)


def test_counts_are_those_of_a_replay(load_tiny: Loader) -> None:
    """Each step of one sequence brings one token and those that were accepted in it."""
    model = load_tiny()
    engine = engine_with(SpeculativeConfig(draft_k=4, history_tokens=0))
    number = engine.open(model, "a")
    engine.append(number, TEXT)
    rows = accepted = steps = tokens = 0
    native = model.native.step
    seen: list[int] = []

    class Counting:
        def __getattr__(self, name: str) -> object:
            if name != "step":
                return getattr(model.native, name)

            def step(*arguments: object, **keywords: NDArray[np.int32]) -> object:
                seen.append(len(keywords["logit_rows"]))
                return native(*arguments, **keywords)

            return step

    counted = dataclasses.replace(model, native=Counting())
    state = engine._states[model.content_hash]
    state.model = counted
    while tokens < 60:
        engine.sample(number, GREEDY)
        before = engine.step_count
        (output,) = engine.step()
        tokens += len(output.token_ids)
        if engine.step_count > before:
            steps += 1
        else:
            accepted += 1
    rows = sum(seen) - steps
    assert accepted + steps == tokens
    metrics = engine.speculation_metrics()
    assert metrics.drafted == rows
    ahead = len(state.sequences[number].ahead)
    assert metrics.accepted == accepted + ahead > 0


def allow(*tokens: int) -> NDArray[np.uint32]:
    mask = np.zeros(-(-VOCABULARY // 32), np.uint32)
    for token in tokens:
        mask[token // 32] |= np.uint32(1 << token % 32)
    return mask


def masked(engine: Engine, model: StoredModel, following: bool) -> list[StepOutput]:
    """Tokens of a rule: after an even one an odd one of the phrase's range, and so on."""
    even, odd = allow(*range(0, 64, 2)), allow(*range(1, 64, 2))
    number = engine.open(model, "a")
    engine.append(number, TEXT)
    last = TEXT[-1]

    def mask_after(token: int) -> NDArray[np.uint32]:
        return odd if token % 2 == 0 else even

    def masks_after(tokens: Sequence[int]) -> list[NDArray[np.uint32]]:
        masks = []
        before = last
        for token in tokens:
            if token >= 64 or token % 2 == before % 2:
                break
            masks.append(mask_after(token))
            before = token
        return masks

    outputs = []
    for _ in range(60):
        engine.sample(number, GREEDY, mask_after(last), masks_after if following else None)
        (output,) = engine.step()
        last = output.token_ids[0]
        outputs.append(output)
    return outputs


def test_masks(load_tiny: Loader) -> None:
    model = load_tiny()
    plain = [each.token_ids for each in masked(engine_with(OFF), model, True)]
    engine = engine_with(SpeculativeConfig())
    assert [each.token_ids for each in masked(engine, model, True)] == plain
    assert engine.speculation_metrics().accepted > 0
    blind = engine_with(SpeculativeConfig())
    assert [each.token_ids for each in masked(blind, model, False)] == plain
    assert blind.speculation_metrics().drafted == 0


def test_a_mask_that_fails_ends_the_draft(load_tiny: Loader) -> None:
    engine = engine_with(SpeculativeConfig())
    number = engine.open(load_tiny(), "a")
    engine.append(number, [*TEXT, *TEXT])

    def fails(tokens: Sequence[int]) -> list[NDArray[np.uint32]]:
        raise ConstraintError("too much work")

    everything = np.full(-(-VOCABULARY // 32), 0xFFFFFFFF, np.uint32)
    for _ in range(20):
        engine.sample(number, GREEDY, everything, fails)
        (output,) = engine.step()
        assert output.error is None
    assert engine.speculation_metrics().drafted == 0


def tokens_ahead(engine: Engine, number: int) -> int:
    """Samples until the engine knows the next token before it is asked."""
    for _ in range(80):
        engine.sample(number, GREEDY)
        engine.step()
        ahead = engine._find(number)[1].ahead
        if len(ahead) > 1:
            return len(ahead)
    raise AssertionError("nothing was ever ahead")


Change = Callable[[Engine, int], int]


def logits(engine: Engine, number: int) -> int:
    engine.logits(number)
    engine.step()
    return number


def mask_once(engine: Engine, number: int) -> int:
    engine.sample(number, GREEDY, allow(100, 101))
    engine.step()
    return number


@pytest.mark.usefixtures("cheap_drafts")
@pytest.mark.parametrize("with_model", [False, True])
@pytest.mark.parametrize("change", [other_policy, other_tokens, rewind, fork, logits, mask_once])
def test_what_changes_while_tokens_are_ahead(
    load_tiny: Loader, change: Change, with_model: bool
) -> None:
    model = load_tiny()
    draft = match_draft(model, model) if with_model else None
    engine = engine_with(SpeculativeConfig(suffix=not with_model))
    number = engine.open(model, "a", draft=draft)
    engine.append(number, TEXT)
    tokens_ahead(engine, number)
    changed = change(engine, number)
    assert_goes_on_as(engine, changed, engine_with(OFF), model)


class Failing:
    """A native model whose steps are counted and fail after some."""

    def __init__(self, model: StoredModel, steps: float = float("inf")) -> None:
        self.calls = 0
        self._native = model.native
        self._left = steps

    def __getattr__(self, name: str) -> object:
        if name == "step":
            if self.calls >= self._left:
                raise NativeError("gone")
            self.calls += 1
        return getattr(self._native, name)


def watch(engine: Engine, model: StoredModel, draft: DraftModel, failing: Failing) -> None:
    """The engine's steps of this draft go through `failing`."""
    number = engine.open(model, "a", draft=draft)
    drafter = engine._find(number)[1].drafter
    assert drafter is not None
    drafter.draft = dataclasses.replace(
        draft, stored=dataclasses.replace(draft.stored, native=failing)
    )


@pytest.mark.usefixtures("cheap_drafts")
def test_a_draft_that_dies(load_tiny: Loader) -> None:
    model = load_tiny()
    draft = match_draft(model, model)
    plain = decode(engine_with(OFF), model, [TEXT], GREEDY, 30)
    engine = engine_with(SpeculativeConfig(draft_k=2, suffix=False, history_tokens=0))
    dying = Failing(model, steps=9)
    watch(engine, model, draft, dying)
    assert decode(engine, model, [TEXT], GREEDY, 30, draft) == plain
    assert dying.calls == 9
    assert engine.speculation_metrics().accepted > 0


ORDER = [int(each) for each in np.random.default_rng(3).permutation(VOCABULARY)]


@dataclasses.dataclass(frozen=True)
class Shuffled(TinyModel):
    """The same model, its tokens in another order; token 0 stands for all that it does not know."""

    digest: str = ""

    def _write_metadata(self, writer: gguf.GGUFWriter) -> None:
        super()._write_metadata(writer)
        writer.add_array("realm.draft.token_ids", [-1, *ORDER[1:]])
        writer.add_string("realm.draft.vocabulary", self.digest)

    def _write_tensor(self, writer: gguf.GGUFWriter, name: str, shape: tuple[int, ...]) -> None:
        super()._write_tensor(writer, name, shape)
        if name == "token_embd.weight":
            info = writer.tensors[-1][name]
            info.tensor = info.tensor[ORDER]


@pytest.mark.usefixtures("cheap_drafts")
def test_a_draft_draws_with_its_targets_noise(load_tiny: Loader, tmp_path: Path) -> None:
    model = load_tiny()
    path = Shuffled(digest=vocabulary_digest(model)).write(tmp_path / "shuffled.gguf")
    draft = match_draft(model, ModelStorage(threads=2, isa="scalar").load(path))
    policy = SamplingParameters(temperature=1.0, seed=21)
    plain = decode(engine_with(OFF), model, [TEXT], policy, 60)
    engine = engine_with(SpeculativeConfig(suffix=False, history_tokens=0))
    assert decode(engine, model, [TEXT], policy, 60, draft) == plain
    counts = engine.speculation_metrics().by_source[Source.MODEL]
    assert counts.accepted > 0.9 * counts.drafted > 20


@pytest.mark.usefixtures("cheap_drafts")
def test_a_small_cache_of_the_draft(load_tiny: Loader) -> None:
    model = load_tiny()
    draft = match_draft(model, model)
    prompts = [TEXT[index : index + 18] for index in range(3)]
    plain = decode(engine_with(OFF), model, prompts, GREEDY, 40)
    config = SpeculativeConfig(
        suffix=False, history_tokens=0, draft_cache_bytes=5 * model.native.page_bytes()
    )
    engine = engine_with(config)
    assert decode(engine, model, prompts, GREEDY, 40, draft) == plain
    assert engine.speculation_metrics().accepted > 0


@pytest.mark.usefixtures("cheap_drafts")
def test_a_useless_draft_is_soon_left_alone(load_tiny: Loader, tmp_path: Path) -> None:
    model = load_tiny()
    other = ModelStorage(threads=1).load(
        TinyModel(hidden=64, heads=2, block_type="Q8_0").write(tmp_path / "other.gguf")
    )
    draft = match_draft(model, other)
    plain = decode(engine_with(OFF), model, [TEXT], GREEDY, 200)
    engine = engine_with(SpeculativeConfig(suffix=False, history_tokens=0))
    watched = Failing(other)
    watch(engine, model, draft, watched)
    assert decode(engine, model, [TEXT], GREEDY, 200, draft) == plain
    assert 0 < watched.calls < 60


def test_off_means_off(load_tiny: Loader) -> None:
    model = load_tiny()
    engine = engine_with(SpeculativeConfig())
    number = engine.open(model, "a", draft_k=0, draft=match_draft(model, model))
    engine.append(number, TEXT)
    for _ in range(30):
        engine.sample(number, GREEDY)
        engine.step()
    assert engine.step_count == 30
    assert engine.speculation_metrics().drafted == 0
