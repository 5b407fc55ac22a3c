"""One step with many adapters: every row has the bits that it has alone (invariant 2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from tests.engine.conftest import Loader
from tests.engine.test_batch_invariance import BLOCK_TYPES, prompt, trace
from tests.random_adapters import EVERYTHING, LINEAR, random_adapter

from realm.config import EngineConfig, SamplingParameters
from realm.engine import Engine
from realm.lora import Projection
from realm.model import AdapterPrecision, PackedAdapter, StoredModel, WeightedAdapter

GREEDY = SamplingParameters(temperature=0.0)
P = Projection
Answer = tuple[list[int], bytes]


@dataclass(frozen=True)
class Text:
    """A prompt, and what is added to the model for it."""

    ids: list[int]
    adapters: tuple[WeightedAdapter, ...] = ()


def pack(
    model: StoredModel,
    projections: Sequence[Projection] = LINEAR,
    precision: AdapterPrecision = "int8",
    **options: object,
) -> PackedAdapter:
    adapter = random_adapter(model.adapter_base, projections, **options)  # type: ignore[arg-type]
    return model.pack_adapter(adapter, precision)


def eight_adapters(model: StoredModel) -> list[PackedAdapter]:
    """Ranks of 4 to 64, no two with the same products."""
    mixed = {each: 5 + 7 * int(each) for each in EVERYTHING}
    return [
        pack(model, rank=16, seed=1),
        pack(model, [P.QUERY, P.VALUE], rank=4, seed=2),
        pack(model, [P.QUERY, P.KEY, P.VALUE, P.OUTPUT], "bfloat16", rank=8, seed=3),
        pack(model, EVERYTHING, rank=64, seed=4),
        pack(model, [P.DOWN], rank=12, seed=5, layers=[0, 2]),
        pack(model, [P.GATE, P.UP], "bfloat16", rank=32, seed=6),
        pack(model, EVERYTHING, "bfloat16", rank=mixed, seed=7),
        pack(model, [P.EMBEDDING, P.HEAD], rank=17, seed=8),
    ]


def mixed_texts(model: StoredModel, longest: int = 90) -> list[Text]:
    """Seventeen: eight adapters, plain ones between, some used twice, weighted, or together."""
    eight = [WeightedAdapter(packed) for packed in eight_adapters(model)]
    added: list[tuple[WeightedAdapter, ...]] = [(), (eight[0],)]
    for each in eight[1:]:
        added += [(each,), ()]
    halved = WeightedAdapter(eight[0].packed, 0.5)
    added[3], added[7], added[11] = (halved,), (eight[0],), (eight[3], eight[1], halved)
    added.append((eight[6], eight[7]))
    return [
        Text(prompt(model, index, 3 + (11 * index) % longest), adapters)
        for index, adapters in enumerate(added)
    ]


def run(
    model: StoredModel, texts: Sequence[Text], *, tokens: int, chunk: int = 512, threads: int = 2
) -> list[Answer]:
    """Every text's continuation and the logits after it; all run in one engine together."""
    config = EngineConfig(
        threads=threads, cache_bytes=1 << 30, step_tokens=chunk, prefill_chunk_tokens=chunk
    )
    return run_in(Engine(config), model, texts, tokens)


def run_in(
    engine: Engine,
    model: StoredModel,
    texts: Sequence[Text],
    tokens: int,
    owner_of: Callable[[int], str] = lambda index: f"tenant-{index % 5}",
) -> list[Answer]:
    """The same in an engine that is there; sequences are closed when they have their answer."""
    numbers = [
        engine.open(model, owner_of(index), adapters=text.adapters)
        for index, text in enumerate(texts)
    ]
    answers: dict[int, Answer] = {}
    sampled: dict[int, list[int]] = {number: [] for number in numbers}
    for number, text in zip(numbers, texts, strict=True):
        engine.append(number, text.ids)
        engine.sample(number, GREEDY)
    while engine.has_work:
        for output in engine.step():
            assert output.error is None
            number, mine = output.sequence, sampled[output.sequence]
            if output.logits is not None:
                answers[number] = (mine, output.logits.tobytes())
                engine.close(number)
                continue
            mine += output.token_ids
            if len(mine) < tokens:
                engine.sample(number, GREEDY)
            else:
                engine.logits(number)
    return [answers[number] for number in numbers]


MODELS = [
    {"architecture": "llama", "block_type": "Q4_1"},
    {"architecture": "llama", "block_type": "F16", "head_block_type": "F16"},
    {"architecture": "llama", "block_type": "Q8_0", "head_size": 16},
    {"architecture": "gemma3", "block_type": "Q5_1"},
    {"architecture": "gemma3", "block_type": "F32", "head_block_type": "Q8_0"},
]
every_model = pytest.mark.parametrize(
    "fields", MODELS, ids=lambda f: "-".join(map(str, f.values()))
)


@every_model
def test_in_a_mixed_batch(load_tiny: Loader, isa: str, fields: dict[str, str]) -> None:
    model = load_tiny(isa, **fields)
    texts = mixed_texts(model)
    alone = [run(model, [text], tokens=7)[0] for text in texts]
    assert run(model, texts, tokens=7) == alone
    assert run(model, texts[::-1], tokens=7) == alone[::-1]
    for size in (2, 5, 8, 9):
        assert run(model, texts[:size], tokens=7) == alone[:size]
    # The adapters do something, and each something else.
    same = [Text(texts[0].ids, text.adapters) for text in texts if text.adapters]
    assert len({answer[1] for answer in run(model, same, tokens=1)}) == len(same) - 1


@every_model
def test_rows_without_an_adapter(load_tiny: Loader, isa: str, fields: dict[str, str]) -> None:
    """What they have beside adapters is what they have in an engine that never saw one."""
    model = load_tiny(isa, **fields)
    texts = mixed_texts(model)
    together = run(model, texts, tokens=4)
    plain = [index for index, text in enumerate(texts) if not text.adapters]
    expected = trace(model, [texts[index].ids for index in plain], tokens=4)
    assert [together[index] for index in plain] == [(a, b.tobytes()) for a, b in expected]


@every_model
def test_in_chunks_and_threads(load_tiny: Loader, isa: str, fields: dict[str, str]) -> None:
    model = load_tiny(isa, **fields)
    texts = [Text(prompt(model, 1, 70), text.adapters) for text in mixed_texts(model)[9:12]]
    whole = run(model, texts, tokens=3, threads=1)
    for chunk, threads in ((3, 2), (8, 3), (33, 4), (64, 1)):
        assert run(model, texts, tokens=3, chunk=chunk, threads=threads) == whole


@pytest.mark.parametrize("fields", MODELS[::3], ids=lambda f: "-".join(map(str, f.values())))
def test_in_long_contexts(load_tiny: Loader, isa: str, fields: dict[str, str]) -> None:
    """Past 512 tokens, where threads share the attention of few sequences."""
    model = load_tiny(isa, **fields)
    chosen = [text.adapters for text in mixed_texts(model)][9:12]
    texts = [Text(prompt(model, n, 580 - 20 * n), adapters) for n, adapters in enumerate(chosen)]
    alone = [run(model, [text], tokens=2)[0] for text in texts]
    for chunk, threads in ((90, 2), (580, 4)):
        assert run(model, texts, tokens=2, chunk=chunk, threads=threads) == alone


@pytest.mark.parametrize("block_type", BLOCK_TYPES)
def test_every_block_type(load_tiny: Loader, isa: str, block_type: str) -> None:
    # Blocks of 256 elements want rows of so many.
    whole = {"hidden": 256, "heads": 8, "feed_forward": 256}
    model = load_tiny(isa, block_type=block_type, head_block_type=block_type, **whole)
    first, second = pack(model, EVERYTHING, rank=16), pack(model, [P.QUERY, P.DOWN], "bfloat16")
    added = [(), (first,), (second,), (first, second), (), (first,)]
    texts = [
        Text(prompt(model, seed, 4 + 7 * seed % 30), tuple(map(WeightedAdapter, packed)))
        for seed, packed in enumerate(added)
    ]
    alone = [run(model, [text], tokens=2)[0] for text in texts]
    assert run(model, texts, tokens=2) == alone
    assert run(model, texts, tokens=2, chunk=7, threads=1) == alone
    bare = [Text(text.ids) for text in texts]
    changed = [a != b for a, b in zip(alone, run(model, bare, tokens=2), strict=True)]
    assert changed == [bool(packed) for packed in added]


def test_logits_outside_of_an_engine(load_tiny: Loader, isa: str) -> None:
    """`StoredModel.logits` and sequences give the same bits."""
    model = load_tiny(isa)
    for text in mixed_texts(model)[1:4]:
        (ids, expected), *_ = run(model, [text], tokens=2)
        assert model.logits([*text.ids, *ids], text.adapters)[-1].tobytes() == expected
