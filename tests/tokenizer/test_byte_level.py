"""Byte-level BPE on a vocabulary made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex
from tokenizers.pre_tokenizers import Sequence, Split

from realm.errors import TokenizerError
from realm.model.tokenizer import load_tokenizer
from realm.model.tokenizer.pre_tokenizers import find_pre_tokenizer, known_pre_tokenizers

from .samples import SAMPLES, byte_alphabet, byte_level_metadata

TOKENIZER = load_tokenizer(byte_level_metadata())
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def ids_of(*texts: str) -> list[int]:
    tokens = byte_level_metadata()["tokenizer.ggml.tokens"]
    assert isinstance(tokens, list)
    return [tokens.index(text) for text in texts]


def test_merges() -> None:
    assert TOKENIZER.encode("hello hello helo w") == ids_of(
        "hello", "Ġhello", "Ġ", "he", "l", "o", "Ġw"
    )


@given(TEXT)
def test_decode_gives_back_what_was_encoded(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert TOKENIZER.decode_bytes(ids) == text.encode()


@given(st.lists(st.integers(0, TOKENIZER.vocabulary_size - 1)), st.booleans())
def test_stream_joins_to_decode(ids: list[int], skip_special: bool) -> None:
    stream = TOKENIZER.stream(skip_special=skip_special)
    pieces = [stream.push(token_id) for token_id in ids]
    assert "".join(pieces) + stream.finish() == TOKENIZER.decode(ids, skip_special=skip_special)


@given(st.binary())
def test_bytes_decode_as_python_does(data: bytes) -> None:
    ids = ids_of(*(byte_alphabet()[byte] for byte in data))
    assert TOKENIZER.decode_bytes(ids) == data
    assert TOKENIZER.decode(ids) == data.decode("utf-8", "replace")


def test_stream_keeps_half_a_character_back() -> None:
    stream = TOKENIZER.stream()
    ids = TOKENIZER.encode("a😀é")
    assert [stream.push(each) for each in ids] == ["a", "", "", "", "😀", "", "é"]
    assert stream.finish() == ""
    assert [stream.push(each) for each in ids[:3]] == ["a", "", ""]
    assert stream.finish() == "\ufffd"


def test_special_tokens_only_from_trusted_text() -> None:
    text = "<|im_start|>hello<tool><|im_end|>"
    trusted = TOKENIZER.encode(text, parse_special=True)
    assert trusted == ids_of("<|im_start|>", "hello", "<tool>", "<|im_end|>")
    plain = TOKENIZER.encode(text)
    assert not set(plain) & set(ids_of("<|im_start|>", "<|im_end|>"))
    assert ids_of("<tool>")[0] in plain
    assert TOKENIZER.decode(plain) == TOKENIZER.decode(trusted) == text
    assert TOKENIZER.decode(trusted, skip_special=True) == "hello<tool>"


@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe"])
def test_no_plain_text_spells_a_control_token(pre: str) -> None:
    """Not even one whose name is a word that the vocabulary could merge."""
    metadata = byte_level_metadata(pre=pre)
    tokens = [*metadata["tokenizer.ggml.tokens"], "secret"]  # type: ignore[misc]
    kinds = [*metadata["tokenizer.ggml.token_type"], 3]  # type: ignore[misc]
    tokenizer = load_tokenizer(byte_level_metadata(pre=pre, tokens=tokens, token_type=kinds))
    assert tokenizer.encode("secret", parse_special=True)[-1] == len(tokens) - 1
    assert len(tokens) - 1 not in tokenizer.encode("secret")


@given(TEXT)
def test_a_hidden_name_is_not_a_way_in(text: str) -> None:
    control = set(ids_of("<|im_start|>", "<|im_end|>"))
    for attempt in (text, f"\ue000hidden:{min(control)}", f"\0{min(control)}"):
        assert not set(TOKENIZER.encode(attempt)) & control


def test_longer_special_token_wins() -> None:
    metadata = byte_level_metadata()
    tokens = [*metadata["tokenizer.ggml.tokens"], "<|im", "<|im_start|>x"]  # type: ignore[misc]
    kinds = [*metadata["tokenizer.ggml.token_type"], 3, 3]  # type: ignore[misc]
    tokenizer = load_tokenizer(byte_level_metadata(tokens=tokens, token_type=kinds))
    assert tokenizer.encode("<|im_start|>xx<|im", parse_special=True) == [
        len(tokens) - 1,
        *ids_of("x"),
        len(tokens) - 2,
    ]


def test_special_ids() -> None:
    bos, eos = ids_of("<|im_start|>", "<|im_end|>")
    assert (TOKENIZER.bos_id, TOKENIZER.eos_id, TOKENIZER.unknown_id) == (bos, eos, None)
    assert TOKENIZER.end_of_generation_ids == {eos}
    assert (TOKENIZER.add_bos, TOKENIZER.add_eos) == (False, False)
    both = load_tokenizer(byte_level_metadata(add_bos_token=True, add_eos_token=True))
    assert both.encode("w") == [bos, *ids_of("w"), eos]
    assert both.encode("w", add_special=False) == ids_of("w")
    assert both.encode("") == [bos, eos]
    assert load_tokenizer(byte_level_metadata(pre="llama-bpe")).add_bos
    assert not load_tokenizer(byte_level_metadata(pre="llama-bpe", add_bos_token=False)).add_bos


def test_ends_of_generation() -> None:
    names = ["<|eot_id|>", "<|end|>", "<|return|>", "<|call|>", "</s>", "<end_of_turn>", "other"]
    metadata = byte_level_metadata()
    base = len(metadata["tokenizer.ggml.tokens"])  # type: ignore[arg-type]

    def ends(kinds: list[int], **changes: object) -> set[str]:
        tokenizer = load_tokenizer(
            byte_level_metadata(
                tokens=[*metadata["tokenizer.ggml.tokens"], *names],  # type: ignore[misc]
                token_type=[*metadata["tokenizer.ggml.token_type"], *kinds],  # type: ignore[misc]
                **changes,
            )
        )
        return {names[each - base] for each in tokenizer.end_of_generation_ids if each >= base}

    always = {"<|eot_id|>", "<|return|>", "<|call|>", "<end_of_turn>"}
    assert ends([3] * 7) == always | {"</s>"}
    assert ends([4] * 7) == always
    assert ends([1] * 7) == set()
    assert ends([1] * 7, eot_token_id=base + 6, eom_token_id=base) == {"other", "<|eot_id|>"}


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(TokenizerError, match=r"U\+D83D, at character 2"):
        TOKENIZER.encode("ab\ud83d")


def test_a_character_without_tokens_is_refused() -> None:
    metadata = byte_level_metadata()
    tokens = list(metadata["tokenizer.ggml.tokens"])  # type: ignore[call-overload]
    tokens[0xE9] = "<unused>"
    tokenizer = load_tokenizer(byte_level_metadata(tokens=tokens))
    assert tokenizer.decode(tokenizer.encode("hello ê")) == "hello ê"
    with pytest.raises(TokenizerError, match=r"U\+9000"):
        tokenizer.encode("hello \u9000")


@pytest.mark.parametrize("token_id", [-1, TOKENIZER.vocabulary_size, 2**40])
def test_ids_out_of_range(token_id: int) -> None:
    for call in (TOKENIZER.token_bytes, TOKENIZER.stream().push, lambda i: TOKENIZER.decode([i])):
        with pytest.raises(TokenizerError, match=f"token {token_id} is not in"):
            call(token_id)


@pytest.mark.parametrize("character", ["a", " ", "\n", "1", "<", "é", "😀", "A1 ", "\u0301"])
@pytest.mark.parametrize("pre", ["smollm", "llama-bpe", "deepseek-llm", "gpt-4o", "falcon"])
def test_long_runs_take_linear_time(pre: str, character: str) -> None:
    """A quadratic cut of 100,000 characters would take minutes."""
    tokenizer = load_tokenizer(byte_level_metadata(pre=pre))
    text = character * (100_000 // len(character)) + "."
    ids = tokenizer.encode(text, add_special=False, parse_special=True)
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("pre", known_pre_tokenizers())
def test_every_way_of_cutting_loses_nothing(pre: str) -> None:
    tokenizer = load_tokenizer(byte_level_metadata(pre=pre))
    for text in SAMPLES.values():
        ids = tokenizer.encode(text, add_special=False)
        assert tokenizer.decode(ids) == text


CUTS = {
    "gpt-2": ["it", "'s", " 2024", "  ", " ok", "\n", "\n", "!!"],
    "smollm": ["it", "'s", " ", "2", "0", "2", "4", "  ", " ok", "\n", "\n", "!!"],
    "llama-bpe": ["it", "'s", " ", "202", "4", "  ", " ok", "\n\n", "!!"],
    "qwen2": ["it", "'s", " ", "2", "0", "2", "4", "  ", " ok", "\n\n", "!!"],
    "deepseek-v3": ["it", "'s", " ", "202", "4", "  ", " ok", "\n\n", "!!"],
    "tekken": ["it", "'s", " ", "2", "0", "2", "4", "  ", " ok", "\n\n", "!!"],
}


@pytest.mark.parametrize("pre", CUTS)
def test_words(pre: str) -> None:
    cut = find_pre_tokenizer(pre)
    assert cut is not None
    stages = [Split(Regex(pattern), "isolated") for pattern in cut.patterns]
    words = [word for word, _ in Sequence(stages).pre_tokenize_str("it's 2024   ok\n\n!!")]
    assert words == CUTS[pre]


def test_an_unknown_way_of_cutting_has_no_entry() -> None:
    assert find_pre_tokenizer("someone's own") is None
    assert find_pre_tokenizer("smollm") is not None
