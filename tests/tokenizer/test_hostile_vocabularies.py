"""Metadata that cannot be true ends in a TokenizerError that names the key."""

from __future__ import annotations

import numpy as np
import pytest

from realm.errors import TokenizerError
from realm.model.tokenizer import load_tokenizer

from .samples import byte_level_metadata, sentence_piece_metadata

TOKENS = list(byte_level_metadata()["tokenizer.ggml.tokens"])  # type: ignore[call-overload]
COUNT = len(TOKENS)
PIECES = list(sentence_piece_metadata()["tokenizer.ggml.tokens"])  # type: ignore[call-overload]
KINDS = [*sentence_piece_metadata()["tokenizer.ggml.token_type"]]  # type: ignore[misc]


def replaced(values: list[object], index: int, value: object) -> list[object]:
    return [*values[:index], value, *values[index + 1 :]]


EITHER = [
    ({"tokens": None}, "tokens is missing"),
    ({"tokens": []}, "tokens is empty"),
    ({"tokens": "text"}, "tokens is a str"),
    ({"tokens": 7}, "tokens is a int"),
    ({"tokens": np.arange(COUNT)}, "tokens"),
    ({"token_type": [1, 2]}, "token_type has 2 values"),
    ({"token_type": np.zeros(2)}, "token_type is not an array of numbers"),
    ({"token_type": 3}, "token_type is a int"),
    ({"token_type": ["a", "b"]}, "token_type is not an array of numbers"),
    ({"token_type": [[1], [2, 3]]}, "token_type is not an array of numbers"),
    ({"bos_token_id": 10**6}, "bos_token_id is 1000000"),
    ({"bos_token_id": -1}, "bos_token_id is -1"),
    ({"eos_token_id": "2"}, "eos_token_id is a str"),
    ({"eos_token_id": 2.0}, "eos_token_id is a float"),
    ({"eos_token_id": True}, "eos_token_id is a bool"),
    ({"unknown_token_id": 10**30}, "unknown_token_id is 1000"),
    ({"eot_token_id": 10**6}, "eot_token_id is 1000000"),
    ({"eom_token_id": [1]}, "eom_token_id is a list"),
    ({"add_bos_token": 1}, "add_bos_token is a int"),
    ({"add_eos_token": "no"}, "add_eos_token is a str"),
]
BYTE_LEVEL = [
    ({"pre": None}, "pre is missing"),
    ({"pre": 7}, "pre is a int"),
    ({"pre": "someone's own"}, 'pre is "someone\'s own"'),
    ({"tokens": replaced(TOKENS, 5, TOKENS[4])}, r"tokens\[4\] and \[5\] are both"),
    ({"tokens": replaced(TOKENS, 5, 7)}, r"tokens\[5\] is a int"),
    ({"tokens": replaced(TOKENS, 5, b"x")}, r"tokens\[5\] is a bytes"),
    ({"tokens": replaced(TOKENS, 5, "\udcff")}, r"tokens\[5\] is not UTF-8"),
    ({"tokens": replaced(TOKENS, COUNT - 1, 7)}, rf"tokens\[{COUNT - 1}\] is a int"),
    ({"tokens": replaced(TOKENS, COUNT - 1, "x" * 5000)}, "special token of 5000 characters"),
    ({"tokens": replaced(TOKENS, COUNT - 1, "\udcff")}, "not UTF-8"),
    ({"tokens": replaced(TOKENS, 5, f"\ue000hidden:{COUNT - 2}")}, "are both"),
    ({"token_type": [0] * COUNT}, r"token_type\[0\] is 0"),
    ({"token_type": [1] * (COUNT - 1) + [7]}, r"is 7, not one of 1..6"),
    ({"merges": None}, "merges is missing"),
    ({"merges": 7}, "merges is a int"),
    ({"merges": ["h e", "he x y"]}, r"merges\[1\]"),
    ({"merges": ["h e", "he"]}, r"merges\[1\]"),
    ({"merges": ["h e", 7]}, "merges"),
    ({"merges": ["q unknownpiece"]}, "merges does not fit"),
    ({"merges": ["z z"]}, "merges does not fit"),
    ({"merges": ["\udcff e"]}, "merges does not fit"),
    ({"merges": ["<|im_start|> <|im_end|>"]}, "merges does not fit"),
]
SENTENCE_PIECE = [
    ({"scores": None}, "scores is missing"),
    ({"scores": np.zeros(3, np.float32)}, "scores has 3 values"),
    ({"scores": np.full(len(PIECES), np.nan, np.float32)}, "scores holds a value"),
    ({"scores": np.full(len(PIECES), np.inf, np.float32)}, "scores holds a value"),
    ({"scores": ["a"] * len(PIECES)}, "scores is not an array of numbers"),
    ({"tokens": replaced(PIECES, 262, PIECES[261])}, "tokens"),
    ({"tokens": replaced(PIECES, 262, "\udcff")}, r"tokens\[262\] is not UTF-8"),
    ({"tokens": replaced(PIECES, 262, 7)}, r"tokens\[262\] is a int"),
    ({"tokens": replaced(PIECES, 262, "x\0y")}, "tokens"),
    ({"tokens": replaced(PIECES, 10, "<0xZZ>")}, "token 10 is a byte token"),
    ({"tokens": replaced(PIECES, 10, "<0x-1>")}, "token 10 is a byte token"),
    ({"tokens": replaced(PIECES, 10, "<0x07>")}, "tokens"),
    ({"token_type": replaced(KINDS, 10, 1)}, "255 byte tokens"),
    ({"token_type": replaced(KINDS, 261, 6)}, "257 byte tokens"),
    ({"add_space_prefix": 1}, "add_space_prefix is a int"),
]


@pytest.mark.parametrize(("changes", "reason"), EITHER + BYTE_LEVEL)
def test_byte_level(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(TokenizerError, match=reason) as caught:
        load_tokenizer(byte_level_metadata(**changes))
    assert "tokenizer.ggml." in str(caught.value)


@pytest.mark.parametrize(("changes", "reason"), EITHER + SENTENCE_PIECE)
def test_sentence_piece(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(TokenizerError, match=reason):
        load_tokenizer(sentence_piece_metadata(**changes))


@pytest.mark.parametrize("model", ["bert", "t5", "rwkv", "none", 7, [1]])
def test_unknown_kind(model: object) -> None:
    with pytest.raises(TokenizerError, match=r"tokenizer\.ggml\.model is"):
        load_tokenizer(byte_level_metadata(model=model))


def test_no_kind() -> None:
    with pytest.raises(TokenizerError, match=r"tokenizer\.ggml\.model is missing"):
        load_tokenizer({})


def test_empty_tokens_are_harmless() -> None:
    bytes_only = load_tokenizer(byte_level_metadata(tokens=replaced(TOKENS, COUNT - 1, "")))
    assert bytes_only.token_bytes(COUNT - 1) == b""
    pieces = load_tokenizer(sentence_piece_metadata(tokens=replaced(PIECES, 269, "")))
    assert pieces.token_bytes(269) == b""
    assert pieces.decode(pieces.encode("a  b"), skip_special=True) == "a  b"
