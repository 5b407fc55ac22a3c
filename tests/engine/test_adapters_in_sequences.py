"""What befalls a sequence with adapters: forks, rewinds, lost pages, kept pages, single layers."""

from dataclasses import replace

import numpy as np
import pytest
from tests.engine.conftest import Loader, logits_of
from tests.engine.test_adapters_in_batches import Text, mixed_texts, pack, run_in
from tests.engine.test_batch_invariance import prompt
from tests.engine.test_preemption import engine_of
from tests.random_adapters import EVERYTHING, LINEAR, random_adapter

import realm.engine.cache
from realm.engine import Engine, LayerRows
from realm.engine.sequence import Sequence
from realm.errors import RequestError
from realm.memory import PrefixScope
from realm.model import StoredModel, WeightedAdapter
from realm.model.packed_adapter import MOST_ADAPTERS

TEXT = [(7 * index + 3) % 320 for index in range(150)]
WHOLE_PAGES = 4


def adapted(model: StoredModel, seed: int = 0, weight: float = 1.0) -> tuple[WeightedAdapter, ...]:
    return (WeightedAdapter(pack(model, EVERYTHING, rank=8, seed=seed), weight),)


# ---- Forks, rewinds, lost pages ----


def test_forks_and_rewinds(load_tiny: Loader, isa: str, engine: Engine) -> None:
    model = load_tiny(isa)
    adapters = adapted(model)
    first = engine.open(model, "a", adapters=adapters)
    engine.append(first, TEXT)
    assert logits_of(engine, first).tobytes() == model.logits(TEXT, adapters)[-1].tobytes()
    fork = engine.fork(first)
    for sequence, ids in ((fork, [5] * 40), (first, [6] * 3), (fork, [7])):
        engine.append(sequence, ids)
        logits_of(engine, sequence)
    expected = model.logits([*TEXT, *[5] * 40, 7], adapters)[-1]
    engine.rewind(fork, 190)
    engine.append(fork, [7])
    assert logits_of(engine, fork).tobytes() == expected.tobytes()
    engine.rewind(first, 70)
    engine.append(first, [8] * 50)
    expected = model.logits([*TEXT[:70], *[8] * 50], adapters)[-1]
    assert logits_of(engine, first).tobytes() == expected.tobytes()
    assert expected.tobytes() != model.logits([*TEXT[:70], *[8] * 50])[-1].tobytes()


@pytest.mark.parametrize("prefix_cache", [False, True])
def test_pages_lost_and_computed_again(load_tiny: Loader, isa: str, prefix_cache: bool) -> None:
    model = load_tiny(isa)
    texts = mixed_texts(model, longest=110)
    alone = [run_in(engine_of(model, 40), model, [text], 20)[0] for text in texts]
    engine = engine_of(
        model, 9, prefix_cache=prefix_cache, displacement_tokens=32, step_tokens=48,
        prefill_chunk_tokens=20,
    )  # fmt: skip
    assert run_in(engine, model, texts, 20, lambda index: f"tenant-{index % 3}") == alone
    assert engine.preemption_count > 3
    assert engine.free_page_count(model) == 9


# ---- Pages that are kept ----


def reused(engine: Engine, model: StoredModel, *sets: tuple[WeightedAdapter, ...]) -> int:
    """Pages spared when one owner runs the same text with each of these, one after another."""
    before = engine.reused_page_count
    for adapters in sets:
        sequence = engine.open(model, "a", adapters=adapters)
        engine.append(sequence, TEXT)
        expected = model.logits(TEXT, adapters)[-1]
        assert logits_of(engine, sequence).tobytes() == expected.tobytes()
        engine.close(sequence)
    return engine.reused_page_count - before


def test_kept_pages_are_used_by_the_same_adapter(
    load_tiny: Loader, isa: str, engine: Engine
) -> None:
    model = load_tiny(isa)
    one = adapted(model)
    assert reused(engine, model, one, one) == WHOLE_PAGES
    again = adapted(model)  # the same content, packed anew
    assert reused(engine, model, again) == WHOLE_PAGES


def test_kept_pages_are_of_one_content_weight_order_and_precision(
    load_tiny: Loader, engine: Engine
) -> None:
    model = load_tiny()
    one, other = adapted(model, 0), adapted(model, 1)
    half = (replace(one[0], weight=0.5),)
    exact = (WeightedAdapter(pack(model, EVERYTHING, "bfloat16", rank=8)),)
    assert exact[0].packed.digest == one[0].packed.digest
    sets = [(), one, other, half, exact, one + other, other + one, one + one]
    assert reused(engine, model, *sets) == 0
    assert reused(engine, model, *sets) == len(sets) * WHOLE_PAGES


def weakened(keeps_digest: bool, keeps_weight: bool) -> object:
    """A key that forgets a part of what an adapter is."""

    def scope(content_hash: str, sequence: Sequence) -> PrefixScope:
        adapters = tuple(
            (each.packed.digest if keeps_digest else b"", each.weight if keeps_weight else 1.0)
            for each in sequence.adapters
        )
        return PrefixScope(content_hash, sequence.owner, adapters)

    return scope


@pytest.mark.parametrize("keeps", [(False, True), (True, False), (False, False)])
def test_a_weaker_key_would_be_seen(
    load_tiny: Loader,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    keeps: tuple[bool, bool],
) -> None:
    """Without the content, or the weight, in the key, `reused` meets the wrong bits."""
    monkeypatch.setattr(realm.engine.cache, "prefix_scope", weakened(*keeps))
    model = load_tiny()
    one = adapted(model)
    other = (replace(one[0], weight=0.5),) if keeps[0] else adapted(model, 1)
    assert reused(engine, model, one) == 0
    with pytest.raises(AssertionError):
        reused(engine, model, other)
    assert engine.reused_page_count == WHOLE_PAGES


def test_a_new_version_never_sees_pages_of_the_old_one(load_tiny: Loader, engine: Engine) -> None:
    """Both run at once under one owner, each with its own bits; both keep their pages apart."""
    model = load_tiny()
    old, new = adapted(model, 5), adapted(model, 6)
    running = engine.open(model, "a", adapters=old)
    engine.append(running, TEXT)
    before = logits_of(engine, running)
    assert reused(engine, model, new) == 0
    engine.append(running, [9])
    assert logits_of(engine, running).tobytes() == model.logits([*TEXT, 9], old)[-1].tobytes()
    assert before.tobytes() == model.logits(TEXT, old)[-1].tobytes()
    assert reused(engine, model, new, old) == 2 * WHOLE_PAGES


# ---- Layer by layer ----


def layer_by_layer(
    engine: Engine, model: StoredModel, texts: list[Text], chunk: int
) -> list[np.ndarray]:
    """The last layer's output of each text; every layer of all texts is one call a chunk."""
    numbers = [engine.open(model, f"t{n}", adapters=t.adapters) for n, t in enumerate(texts)]
    outputs: list[list[np.ndarray]] = [[] for _ in texts]
    longest = max(len(text.ids) for text in texts)
    for begin in range(0, longest, chunk):
        present = [n for n, text in enumerate(texts) if begin < len(text.ids)]
        rows = {n: model.embed(texts[n].ids[begin : begin + chunk]) for n in present}
        for layer in range(model.hyperparameters.layer_count):
            calls = [LayerRows(numbers[n], layer, rows[n], begin) for n in present]
            for n, answer in zip(present, engine.forward_layers(calls), strict=True):
                assert isinstance(answer, np.ndarray)
                rows[n] = answer
        for n in present:
            outputs[n].append(rows[n])
    return [np.concatenate(each) for each in outputs]


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_layer_by_layer_as_in_a_step(load_tiny: Loader, isa: str, architecture: str) -> None:
    """Products of layers; embedding and head are computed outside of this path."""
    model = load_tiny(isa, architecture=architecture)
    added = [
        (),
        (WeightedAdapter(pack(model, LINEAR, rank=16)),),
        (WeightedAdapter(pack(model, LINEAR[:3], rank=4), 0.5),),
        (),
        (
            WeightedAdapter(pack(model, LINEAR, "bfloat16", rank=33, seed=4)),
            WeightedAdapter(pack(model, LINEAR, rank=16)),
        ),
    ]
    texts = [Text(prompt(model, n, 20 + 17 * n), adapters) for n, adapters in enumerate(added)]
    for chunk in (100, 23):
        rows = layer_by_layer(engine_of(model, 60), model, texts, chunk)
        for text, hidden in zip(texts, rows, strict=True):
            expected = model.logits(text.ids, text.adapters)
            for at in (0, len(text.ids) // 2, -1):
                assert model.compute_logits(hidden[at]).tobytes() == expected[at].tobytes()


# ---- What is refused ----


def test_refusals(load_tiny: Loader, engine: Engine) -> None:
    model = load_tiny()
    (one,) = adapted(model)
    engine.open(model, "a", adapters=[one] * MOST_ADAPTERS)
    with pytest.raises(RequestError, match="at most"):
        engine.open(model, "a", adapters=[one] * (MOST_ADAPTERS + 1))
    for weight in (float("nan"), float("inf"), -float("inf")):
        with pytest.raises(RequestError, match="weight"):
            engine.open(model, "a", adapters=[replace(one, weight=weight)])
    other = load_tiny(block_type="Q8_0")
    with pytest.raises(RequestError, match="another model"):
        engine.open(other, "a", adapters=[one])
    assert engine.sequence_count == 1


def test_an_adapter_that_overflows_harms_nobody_else(load_tiny: Loader, isa: str) -> None:
    """Its own sequence gets an error or nonsense; the others' bits stay."""
    model = load_tiny(isa)
    huge = random_adapter(model.adapter_base, EVERYTHING, strength=1e4)
    packed = model.pack_adapter(huge)
    texts = [Text(prompt(model, n, 30 + n)) for n in range(4)]
    alone = run_in(engine_of(model, 40), model, texts, 5)
    engine = engine_of(model, 40)
    bad = engine.open(model, "bad", adapters=[WeightedAdapter(packed, 1e35)])
    engine.append(bad, texts[0].ids)
    engine.logits(bad)
    numbers = [engine.open(model, "good") for _ in texts]
    for number, text in zip(numbers, texts, strict=True):
        engine.append(number, text.ids)
        engine.logits(number)
    expected = {
        number: model.logits(text.ids)[-1].tobytes()
        for number, text in zip(numbers, texts, strict=True)
    }
    found: dict[int, bytes] = {}
    while engine.has_work:
        for output in engine.step():
            if output.logits is not None:
                found[output.sequence] = output.logits.tobytes()
    assert {number: found[number] for number in numbers} == expected
    assert found[bad] not in expected.values()
    assert run_in(engine, model, texts, 5) == alone
