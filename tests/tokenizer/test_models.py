"""The two test models' tokenizers against independent implementations of the same vocabularies."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers

from realm.errors import TokenizerError
from realm.gguf import open_gguf
from realm.model.tokenizer import Tokenizer, load_tokenizer

from .samples import SAMPLES

SPACE = "\u2581"


@pytest.fixture(scope="module")
def smollm2(smollm2_path: Path) -> Iterator[tuple[Tokenizer, tokenizers.Tokenizer]]:
    with open_gguf(smollm2_path) as file:
        metadata = dict(file.metadata)
        yield load_tokenizer(metadata), published_smollm2(metadata)


@pytest.fixture(scope="module")
def gemma3(gemma3_path: Path) -> Iterator[tuple[Tokenizer, tokenizers.Tokenizer]]:
    with open_gguf(gemma3_path) as file:
        metadata = dict(file.metadata)
        yield load_tokenizer(metadata), published_gemma(metadata)


def published_smollm2(metadata: dict[str, object]) -> tokenizers.Tokenizer:
    """SmolLM2's tokenizer.json: Digits, then ByteLevel with its own expression."""
    tokens = list(metadata["tokenizer.ggml.tokens"])  # type: ignore[call-overload]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]  # type: ignore[attr-defined]
    library = tokenizers.Tokenizer(models.BPE({text: i for i, text in enumerate(tokens)}, merges))
    library.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    library.decoder = decoders.ByteLevel()
    return library


def published_gemma(metadata: dict[str, object]) -> tokenizers.Tokenizer:
    """Gemma's tokenizer.json: BPE whose merges are all pairs of pieces that make a piece."""
    tokens = list(metadata["tokenizer.ggml.tokens"])  # type: ignore[call-overload]
    kinds = metadata["tokenizer.ggml.token_type"]
    scores = metadata["tokenizer.ggml.scores"]
    user_defined = [text for text, kind in zip(tokens, kinds, strict=True) if kind == 4]  # type: ignore[call-overload]
    ids = {text: i for i, text in enumerate(tokens)}
    merges = [
        (-score, ids[text[:cut]], ids[text[cut:]], text[:cut], text[cut:])
        for text, kind, score in zip(tokens, kinds, scores, strict=True)  # type: ignore[call-overload]
        if kind == 1
        for cut in range(1, len(text))
        if text[:cut] in ids and text[cut:] in ids
    ]
    merges.sort()
    model = models.BPE(
        ids, [merge[3:] for merge in merges], byte_fallback=True, fuse_unk=True, unk_token="<unk>"
    )
    library = tokenizers.Tokenizer(model)
    library.normalizer = normalizers.Replace(" ", SPACE)
    library.add_tokens([tokenizers.AddedToken(each, normalized=False) for each in user_defined])
    return library


def random_texts(seed: int, count: int) -> Iterator[str]:
    """Mixtures of the samples' characters and of any others, cut and joined anywhere."""
    source = random.Random(seed)
    pool = "".join(SAMPLES.values())
    for _ in range(count):
        parts = []
        for _ in range(source.randrange(1, 8)):
            start = source.randrange(len(pool))
            parts.append(pool[start : start + source.randrange(12)])
            parts.append(" " * source.randrange(4))
            parts.append(chr(source.randrange(0x20, 0xD800)))
        yield "".join(parts)


def test_smollm2_as_published(smollm2: tuple[Tokenizer, tokenizers.Tokenizer]) -> None:
    ours, published = smollm2
    for text in [*SAMPLES.values(), *random_texts(1, 2000)]:
        try:
            ids = ours.encode(text)
        except TokenizerError:
            # The published one drops what this vocabulary cannot write; nothing else may differ.
            assert published.decode(published.encode(text).ids) != text
            continue
        assert ids == published.encode(text).ids, text
        assert ours.decode(ids) == text


def test_smollm2_english(
    smollm2: tuple[Tokenizer, tokenizers.Tokenizer], english_text: str
) -> None:
    ours, published = smollm2
    ids = ours.encode(english_text)
    assert ids == published.encode(english_text).ids
    assert ours.decode(ids) == english_text == published.decode(ids)


def test_smollm2_chat(smollm2: tuple[Tokenizer, tokenizers.Tokenizer]) -> None:
    ours, published = smollm2
    prompt = "<|im_start|>user\nHi<|im_end|>\n"
    inside, newline = published.encode("user\nHi").ids, published.encode("\n").ids
    assert ours.encode(prompt, parse_special=True) == [1, *inside, 2, *newline]
    assert not {0, 1, 2} & set(ours.encode(prompt))
    assert ours.end_of_generation_ids == {0, 2}
    assert (ours.bos_id, ours.eos_id, ours.unknown_id, ours.add_bos) == (1, 2, 0, False)


def test_gemma_as_published(gemma3: tuple[Tokenizer, tokenizers.Tokenizer]) -> None:
    """But for U+2581 in a text: beside a space SentencePiece takes both as one run of spaces."""
    ours, published = gemma3
    for sample in [*SAMPLES.values(), *random_texts(2, 2000)]:
        text = sample.replace(SPACE, "")
        assert ours.encode(text, add_special=False) == published.encode(text).ids, text


def test_gemma_special(gemma3: tuple[Tokenizer, tokenizers.Tokenizer]) -> None:
    ours, published = gemma3
    assert (ours.bos_id, ours.eos_id, ours.unknown_id) == (2, 1, 3)
    assert ours.end_of_generation_ids == {1, 106}
    turn = "<start_of_turn>user\nHi<end_of_turn>\n"
    inside, newline = published.encode("user\nHi").ids, published.encode("\n").ids
    assert ours.encode(turn, parse_special=True) == [2, 105, *inside, 106, *newline]
    assert not {105, 106} & set(ours.encode(turn))


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_round_trips_and_streams(name: str, request: pytest.FixtureRequest) -> None:
    ours: Tokenizer = request.getfixturevalue(name)[0]
    source = random.Random(3)
    for name_of_sample in SAMPLES.keys() - {"rare planes", "surrounding"}:
        text = SAMPLES[name_of_sample]
        assert ours.decode(ours.encode(text), skip_special=True) == text
    for _ in range(300):
        ids = [source.randrange(ours.vocabulary_size) for _ in range(source.randrange(1, 40))]
        stream = ours.stream()
        pieces = [stream.push(each) for each in ids]
        assert "".join(pieces) + stream.finish() == ours.decode(ids, skip_special=True)
        assert ours.decode_bytes(ids) == b"".join(map(ours.token_bytes, ids))
