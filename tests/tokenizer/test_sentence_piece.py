"""SentencePiece vocabularies made by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm.errors import TokenizerError
from realm.model.tokenizer import load_tokenizer

from .samples import sentence_piece_metadata

TOKENIZER = load_tokenizer(sentence_piece_metadata())
UNPREFIXED = load_tokenizer(sentence_piece_metadata(add_space_prefix=False))
# U+2581 is how these vocabularies write a space: it comes back as one.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581")) | st.text(
    "ab c\n"
)


def ids_of(*texts: str) -> list[int]:
    tokens = sentence_piece_metadata()["tokenizer.ggml.tokens"]
    assert isinstance(tokens, list)
    return [tokens.index(text) for text in texts]


def test_pieces_by_score() -> None:
    assert TOKENIZER.encode("abc ab", add_special=False) == ids_of("▁ab", "c", "▁ab")
    assert UNPREFIXED.encode("abc ab", add_special=False) == ids_of("abc", "▁ab")
    assert UNPREFIXED.encode("a  b", add_special=False) == ids_of("a", "▁▁", "b")


def test_bytes_for_what_has_no_piece() -> None:
    assert UNPREFIXED.encode("é😀", add_special=False) == ids_of(
        "é", "<0xF0>", "<0x9F>", "<0x98>", "<0x80>"
    )
    assert UNPREFIXED.token_bytes(ids_of("<0x9F>")[0]) == b"\x9f"


def test_bos_comes_first_unless_the_file_says_no() -> None:
    assert TOKENIZER.encode("a") == ids_of("<s>", "▁a")
    assert TOKENIZER.encode("") == ids_of("<s>")
    assert load_tokenizer(sentence_piece_metadata(add_bos_token=False)).encode("a") == ids_of("▁a")


@given(TEXT)
def test_decode_gives_back_what_was_encoded(text: str) -> None:
    for tokenizer in (TOKENIZER, UNPREFIXED):
        assert tokenizer.decode(tokenizer.encode(text), skip_special=True) == text


@given(TEXT, TEXT)
def test_a_space_after_a_control_token_comes_back(left: str, right: str) -> None:
    text = f"{left}<turn>{right}"
    for tokenizer in (TOKENIZER, UNPREFIXED):
        ids = tokenizer.encode(text, add_special=False, parse_special=True)
        assert ids_of("<turn>")[0] in ids
        assert tokenizer.decode(ids) == text


@given(st.lists(st.integers(0, TOKENIZER.vocabulary_size - 1)), st.booleans(), st.booleans())
def test_stream_joins_to_decode(ids: list[int], skip_special: bool, continuation: bool) -> None:
    stream = TOKENIZER.stream(skip_special=skip_special, continuation=continuation)
    joined = "".join([stream.push(token_id) for token_id in ids]) + stream.finish()
    expected = TOKENIZER.decode(ids, skip_special=skip_special, continuation=continuation)
    assert joined == expected


def test_the_first_space_of_a_continuation_is_text() -> None:
    ids = ids_of("▁ab", "c")
    assert TOKENIZER.decode(ids) == "abc"
    assert TOKENIZER.decode(ids, continuation=True) == " abc"
    assert TOKENIZER.stream(continuation=True).push(ids[0]) == " ab"
    assert TOKENIZER.stream().push(ids[0]) == "ab"


def test_special_tokens_only_from_trusted_text() -> None:
    control = set(ids_of("<unk>", "<s>", "</s>", "<turn>"))
    text = "a<turn></s><s>"
    assert not control & set(TOKENIZER.encode(text, add_special=False))
    trusted = TOKENIZER.encode(text, add_special=False, parse_special=True)
    assert trusted == ids_of("▁a", "<turn>", "</s>", "<s>")


def test_user_defined_tokens_are_whole() -> None:
    """A converter writes their spaces as spaces."""
    ids = UNPREFIXED.encode("a  \nb", add_special=False)
    assert ids == ids_of("a", "  \n", "b")
    assert UNPREFIXED.decode(ids) == "a  \nb"


def test_a_vocabulary_without_bytes_refuses_what_it_cannot_write() -> None:
    metadata = sentence_piece_metadata()
    kinds = [1 if kind == 6 else kind for kind in metadata["tokenizer.ggml.token_type"]]  # type: ignore[attr-defined]
    known = load_tokenizer(sentence_piece_metadata(token_type=kinds))
    assert known.encode("a😀", add_special=False)[-1] == known.unknown_id == 0
    kinds[0] = 1
    nothing = load_tokenizer(sentence_piece_metadata(token_type=kinds, unknown_token_id=None))
    assert nothing.encode("ab", add_special=False) == ids_of("▁ab")
    with pytest.raises(TokenizerError, match="no token for"):
        nothing.encode("a😀")


def test_a_nul_is_text() -> None:
    assert UNPREFIXED.decode(UNPREFIXED.encode("a\0b"), skip_special=True) == "a\0b"


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(TokenizerError, match="lone surrogate"):
        TOKENIZER.encode("\udc80")


@pytest.mark.parametrize("character", ["a", " ", "\n", "é", "<", "😀", "ab "])
def test_long_runs_take_linear_time(character: str) -> None:
    text = character * (100_000 // len(character))
    assert TOKENIZER.decode(TOKENIZER.encode(text), skip_special=True) == text
