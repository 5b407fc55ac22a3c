"""Pages that outlive their session: for the same owner and model alone, without changing a bit."""

import pytest
from tests.engine.conftest import Loader, logits_of
from tests.engine.test_preemption import engine_of

import realm.engine.cache
from realm.config import EngineConfig
from realm.engine import Engine
from realm.memory import PrefixScope

TEXT = [(7 * index + 3) % 320 for index in range(150)]


def test_a_text_that_begins_alike_is_computed_from_where_it_differs(
    load_tiny: Loader, isa: str
) -> None:
    model = load_tiny(isa)
    engine = Engine(EngineConfig(threads=2, cache_bytes=64 << 20))
    first = engine.open(model, "a")
    engine.append(first, TEXT)
    whole = logits_of(engine, first)
    engine.close(first)
    again = engine.open(model, "a")
    engine.append(again, TEXT)
    assert logits_of(engine, again).tobytes() == whole.tobytes()
    assert engine.reused_page_count == 4
    other = engine.open(model, "a")
    engine.append(other, [*TEXT[:100], 5, 6])
    expected = model.logits([*TEXT[:100], 5, 6])[-1]
    assert logits_of(engine, other).tobytes() == expected.tobytes()
    assert engine.reused_page_count == 7


def test_a_text_that_is_known_to_its_last_token_still_gets_its_answer(
    load_tiny: Loader, engine: Engine
) -> None:
    model = load_tiny()
    for _ in range(3):
        sequence = engine.open(model, "a")
        engine.append(sequence, TEXT[:64])
        expected = model.logits(TEXT[:64])[-1]
        assert logits_of(engine, sequence).tobytes() == expected.tobytes()
    assert engine.reused_page_count == 2


def shared_pages(load_tiny: Loader, engine: Engine, owners: str) -> int:
    model = load_tiny()
    for owner in owners:
        sequence = engine.open(model, owner)
        engine.append(sequence, TEXT)
        logits_of(engine, sequence)
        engine.close(sequence)
    return engine.reused_page_count


def test_owners_do_not_share(load_tiny: Loader, engine: Engine) -> None:
    assert shared_pages(load_tiny, engine, "ab") == 0
    assert shared_pages(load_tiny, engine, "b") == 4


def test_they_would_if_the_owner_were_not_part_of_the_key(
    load_tiny: Loader, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shows that the test above sees what it is there to see."""
    monkeypatch.setattr(
        realm.engine.cache,
        "prefix_scope",
        lambda content_hash, sequence: PrefixScope(content_hash, ""),
    )
    assert shared_pages(load_tiny, engine, "ab") == 4


def test_the_cache_can_be_switched_off(load_tiny: Loader) -> None:
    engine = engine_of(load_tiny(), 20, prefix_cache=False)
    assert shared_pages(load_tiny, engine, "aaa") == 0


def test_an_owner_can_be_forgotten(load_tiny: Loader, engine: Engine) -> None:
    shared_pages(load_tiny, engine, "ab")
    engine.forget_texts("a")
    assert shared_pages(load_tiny, engine, "a") == 0
    assert shared_pages(load_tiny, engine, "b") == 4
    engine.forget_texts()
    assert shared_pages(load_tiny, engine, "b") == 4


def test_kept_pages_make_way_for_sequences(load_tiny: Loader) -> None:
    model = load_tiny()
    engine = engine_of(model, 6)
    for index in range(12):
        sequence = engine.open(model, "a")
        engine.append(sequence, [index, *TEXT])
        expected = model.logits([index, *TEXT])[-1]
        assert logits_of(engine, sequence).tobytes() == expected.tobytes()
        engine.close(sequence)
        assert engine.free_page_count(model) == 6
    assert engine.preemption_count == 0


def test_rewinding_into_a_kept_page_does_not_write_on_it(load_tiny: Loader, engine: Engine) -> None:
    model = load_tiny()
    first = engine.open(model, "a")
    engine.append(first, TEXT)
    whole = logits_of(engine, first)
    engine.rewind(first, 50)
    engine.append(first, [1] * 60)
    expected = model.logits([*TEXT[:50], *[1] * 60])[-1]
    assert logits_of(engine, first).tobytes() == expected.tobytes()
    fork = engine.fork(first)
    engine.rewind(fork, 40)
    engine.append(fork, TEXT[40:])
    assert logits_of(engine, fork).tobytes() == whole.tobytes()
    engine.close(first)
    engine.append(fork, [2])
    assert logits_of(engine, fork).tobytes() == model.logits([*TEXT, 2])[-1].tobytes()
    last = engine.open(model, "a")
    engine.append(last, TEXT)
    assert logits_of(engine, last).tobytes() == whole.tobytes()
    assert engine.reused_page_count > 0


def test_pages_that_two_computed_at_once_are_kept_once(load_tiny: Loader, engine: Engine) -> None:
    model = load_tiny()
    numbers = [engine.open(model, "a") for _ in range(3)]
    for number in numbers:
        engine.append(number, TEXT)
        engine.logits(number)
    while engine.has_work:
        engine.step()
    total = engine.free_page_count(model)
    for number in numbers:
        engine.close(number)
    # Four full pages together, and each its own last one.
    assert engine.free_page_count(model) == total + 4 + 3


def test_pages_of_a_layer_by_layer_sequence_are_not_kept(load_tiny: Loader, engine: Engine) -> None:
    model = load_tiny()
    scratch = engine.open(model, "a")
    engine.forward_layer(scratch, 0, model.embed(TEXT[:64]), 0)
    engine.close(scratch)
    assert shared_pages(load_tiny, engine, "a") == 0
