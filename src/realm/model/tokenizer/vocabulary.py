"""A vocabulary read from GGUF metadata and checked.

Reads `tokenizer.ggml.*`; the first value that cannot be true ends in a TokenizerError that names
its key. Never turns text into ids: that is the tokenizers' work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from operator import index as as_index
from typing import Any, Final

import numpy as np

from realm.errors import TokenizerError

PREFIX: Final = "tokenizer.ggml."
# Texts that end a turn or a document in the known chat formats. They name control tokens; in
# files whose converter marked them as user-defined they still do.
END_TEXTS: Final = frozenset(
    (
        *("<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>"),
        *("<end_of_turn>", "<|return|>", "<|call|>", "<|calls|>", "<|flush|>", "<EOT>", "_<EOT>"),
        *("[EOT]", "[EOS]", "<end_of_utterance>", "<turn|>"),
        "<\uff5cend\u2581of\u2581sentence\uff5c>",
    )
)
# Texts that end a document where they are control tokens, and are plain text elsewhere.
_CONTROL_END_TEXTS: Final = frozenset(["</s>", "<eos>"])
# In formats with these, <|end|> closes a message and the turn goes on.
_TURN_GOES_ON: Final = (
    frozenset(["<|return|>", "<|call|>"]),
    frozenset(["<|calls|>", "<|flush|>"]),
)
_LONGEST_SPECIAL_CHARACTERS: Final = 1024
# Begins the name of a token that no text may spell: a private character in no vocabulary.
HIDDEN: Final = "\ue000hidden:"


class TokenKind(IntEnum):
    """What a token is, in the numbers of `tokenizer.ggml.token_type` (llama.cpp, llama.h)."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What every kind of tokenizer needs to know of its tokens.

    tokens: text by id, as the file spells it. kinds: one TokenKind byte an id.
    control: text -> id of what only trusted text may name. user_defined: text -> id of what is
    one token wherever it stands.
    """

    tokens: Sequence[str]
    kinds: bytes
    control: Mapping[str, int]
    user_defined: Mapping[str, int]
    bos_id: int | None
    eos_id: int | None
    unknown_id: int | None
    end_of_generation_ids: frozenset[int]

    def __len__(self) -> int:
        return len(self.kinds)


def read_vocabulary(metadata: Mapping[str, object]) -> Vocabulary:
    """Tokens, their kinds and the ids with a meaning. Raises TokenizerError."""
    tokens = read_strings(metadata, "tokens")
    if not len(tokens):
        raise TokenizerError(f"{PREFIX}tokens is empty")
    types = read_numbers(metadata, "token_type", len(tokens), "iu")
    if types is None:
        kinds = np.full(len(tokens), TokenKind.NORMAL, np.uint8)
    else:
        wrong = np.flatnonzero((types < 1) | (types > len(TokenKind)))
        if len(wrong):
            text = f"{PREFIX}token_type[{wrong[0]}] is {types[wrong[0]]}, not one of 1..6"
            raise TokenizerError(text)
        kinds = types.astype(np.uint8)
    special = _special_texts(tokens, kinds)
    eos_id = read_token_id(metadata, "eos_token_id", len(tokens))
    control = {text: i for i, text in special.items() if kinds[i] != TokenKind.USER_DEFINED}
    return Vocabulary(
        tokens=tokens,
        kinds=kinds.tobytes(),
        control=control,
        user_defined={text: i for i, text in special.items() if kinds[i] == TokenKind.USER_DEFINED},
        bos_id=read_token_id(metadata, "bos_token_id", len(tokens)),
        eos_id=eos_id,
        unknown_id=read_token_id(metadata, "unknown_token_id", len(tokens)),
        end_of_generation_ids=_end_of_generation(metadata, control, eos_id, len(tokens)),
    )


def _special_texts(
    tokens: Sequence[str], kinds: np.ndarray[tuple[int], np.dtype[np.uint8]]
) -> dict[int, str]:
    """The texts by id of unknown, control and user-defined tokens; marks the ends of turns."""
    special: dict[int, str] = {}
    wanted = (TokenKind.UNKNOWN, TokenKind.CONTROL, TokenKind.USER_DEFINED)
    for token_id in np.flatnonzero(np.isin(kinds, wanted)).tolist():
        text = tokens[token_id]
        if not isinstance(text, str):
            raise TokenizerError(_describe_bad_text(tokens))
        if len(text) > _LONGEST_SPECIAL_CHARACTERS:
            raise TokenizerError(
                f"{PREFIX}tokens[{token_id}] is a special token of {len(text)} characters; "
                f"at most {_LONGEST_SPECIAL_CHARACTERS} are read"
            )
        if text in END_TEXTS:
            kinds[token_id] = TokenKind.CONTROL
        if text:
            special[token_id] = text
    return special


def _end_of_generation(
    metadata: Mapping[str, object], control: Mapping[str, int], eos_id: int | None, count: int
) -> frozenset[int]:
    ends = {text for text in control if text in END_TEXTS or text in _CONTROL_END_TEXTS}
    if any(texts <= control.keys() for texts in _TURN_GOES_ON):
        ends.discard("<|end|>")
    named = [read_token_id(metadata, f"{name}_token_id", count) for name in ("eot", "eom")]
    found = {control[text] for text in ends} | {eos_id, *named}
    return frozenset(each for each in found if each is not None)


def searchable_texts(vocabulary: Vocabulary, *, hide_control: bool) -> list[str]:
    """The text of every id, for a library that looks ids up by text.

    Empty texts get a name that no text can spell; so do control tokens with hide_control, which
    puts them out of reach for whatever a user writes. Raises TokenizerError.
    """
    texts = list(vocabulary.tokens)
    try:
        "".join(texts).encode()
    except (TypeError, UnicodeEncodeError):
        raise TokenizerError(_describe_bad_text(texts)) from None
    hidden = vocabulary.control.values() if hide_control else ()
    for token_id in [*hidden, *(i for i, text in enumerate(texts) if not text)]:
        texts[token_id] = f"{HIDDEN}{token_id}"
    return texts


def describe_twice(texts: Sequence[str]) -> str:
    """What to say of a vocabulary that holds a text twice."""
    first: dict[str, int] = {}
    for token_id, text in enumerate(texts):
        if first.setdefault(text, token_id) != token_id:
            return f"{PREFIX}tokens[{first[text]}] and [{token_id}] are both {text!r}"
    return f"{PREFIX}tokens holds a text twice"


def _describe_bad_text(texts: Sequence[object]) -> str:
    for token_id, text in enumerate(texts):
        if not isinstance(text, str):
            return f"{PREFIX}tokens[{token_id}] is a {type(text).__name__}, not text"
        if not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text):
            return f"{PREFIX}tokens[{token_id}] is not UTF-8: {text!r}"
    return f"{PREFIX}tokens is not text"


def read_strings(metadata: Mapping[str, object], name: str) -> Sequence[str]:
    """An array of strings that must be there; its elements are checked by who walks them."""
    value = metadata.get(PREFIX + name)
    if value is None:
        raise TokenizerError(f"{PREFIX}{name} is missing")
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise TokenizerError(f"{PREFIX}{name} is a {type(value).__name__}, not an array of strings")
    return value


def read_numbers(
    metadata: Mapping[str, object], name: str, count: int, dtype_kinds: str
) -> np.ndarray[tuple[int], np.dtype[Any]] | None:
    """One number a token, of a dtype kind in dtype_kinds; None if the key is not there."""
    value = metadata.get(PREFIX + name)
    if value is None:
        return None
    if not isinstance(value, np.ndarray | Sequence) or isinstance(value, str | bytes):
        raise TokenizerError(f"{PREFIX}{name} is a {type(value).__name__}, not an array of numbers")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise TokenizerError(f"{PREFIX}{name} is not an array of numbers: {error}") from None
    if array.ndim != 1 or array.dtype.kind not in dtype_kinds:
        raise TokenizerError(f"{PREFIX}{name} is not an array of numbers ({array.dtype})")
    if len(array) != count:
        raise TokenizerError(f"{PREFIX}{name} has {len(array)} values for {count} tokens")
    return array


def read_token_id(metadata: Mapping[str, object], name: str, count: int) -> int | None:
    """An id inside the vocabulary, or None if the key is not there."""
    value = metadata.get(PREFIX + name)
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise TypeError
        token_id = as_index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TokenizerError(
            f"{PREFIX}{name} is a {type(value).__name__}, not a token's id"
        ) from None
    if not 0 <= token_id < count:
        raise TokenizerError(f"{PREFIX}{name} is {token_id}; the vocabulary has {count} tokens")
    return token_id


def read_flag(metadata: Mapping[str, object], name: str, default: bool) -> bool:
    """A boolean, or the default if the key is not there."""
    value = metadata.get(PREFIX + name)
    if value is None:
        return default
    if not isinstance(value, bool | np.bool_):
        raise TokenizerError(f"{PREFIX}{name} is a {type(value).__name__}, not a boolean")
    return bool(value)
