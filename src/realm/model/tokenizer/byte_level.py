"""Byte-level BPE, the kind that GGUF calls `gpt2`, on the `tokenizers` library.

Never lets a control token out of plain text: the library knows control tokens by names that no
text can spell.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import tokenizers
from tokenizers import Regex, models, pre_tokenizers

from realm.errors import TokenizerError
from realm.model.tokenizer.base import Tokenizer
from realm.model.tokenizer.pre_tokenizers import PreTokenizer, find_pre_tokenizer
from realm.model.tokenizer.special import SpecialTokens
from realm.model.tokenizer.vocabulary import (
    PREFIX,
    TokenKind,
    Vocabulary,
    describe_twice,
    read_flag,
    read_strings,
    read_vocabulary,
    searchable_texts,
)

# Alone among the library's calls, one for several texts leaves the interpreter to other threads.
_LONG_CHARACTERS = 4096


class ByteLevelTokenizer(Tokenizer):
    """Merges of bytes, each byte spelled as one printable character (Radford et al. 2019)."""

    def __init__(self, metadata: Mapping[str, object]) -> None:
        """Raises TokenizerError, naming the key that is wrong."""
        cut = _read_pre_tokenizer(metadata)
        vocabulary = read_vocabulary(metadata)
        self._byte_of_character = {character: byte for byte, character in _alphabet()}
        self._library = _build(metadata, vocabulary, cut)
        self._missing_bytes = bytes(
            byte for byte, character in _alphabet() if self._library.token_to_id(character) is None
        )
        super().__init__(
            vocabulary,
            add_bos=read_flag(metadata, "add_bos_token", cut.adds_bos),
            add_eos=read_flag(metadata, "add_eos_token", False),
            plain_special=SpecialTokens(vocabulary.user_defined),
            trusted_special=SpecialTokens({**vocabulary.user_defined, **vocabulary.control}),
            drops_space=False,
        )

    def _encode_plain(self, text: str) -> list[int]:
        if self._missing_bytes:
            data = text.encode()
            if len(data.translate(None, self._missing_bytes)) != len(data):
                raise TokenizerError(_describe_missing(text, self._missing_bytes))
        if len(text) < _LONG_CHARACTERS:
            ids: list[int] = self._library.encode(text, add_special_tokens=False).ids
        else:
            ids = self._library.encode_batch_fast([text], add_special_tokens=False)[0].ids
        return ids

    def _spelled_bytes(self, text: str, kind: int) -> bytes:
        if kind == TokenKind.USER_DEFINED:
            return text.encode()
        try:
            return bytes(map(self._byte_of_character.__getitem__, text))
        except KeyError:  # a token added to the vocabulary by its plain spelling
            return text.encode()


def _alphabet() -> Iterator[tuple[int, str]]:
    """Every byte and the character that spells it: itself if printable, else one past U+00FF."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    following = 0x100
    for byte in range(0x100):
        if byte in printable:
            yield byte, chr(byte)
        else:
            yield byte, chr(following)
            following += 1


def _describe_missing(text: str, missing: bytes) -> str:
    character = next(each for each in text if set(each.encode()) & set(missing))
    return (
        f"the vocabulary has no token for a byte of {character!r} (U+{ord(character):04X}); "
        f"this text cannot be written with it"
    )


def _read_pre_tokenizer(metadata: Mapping[str, object]) -> PreTokenizer:
    name = metadata.get(PREFIX + "pre")
    if not isinstance(name, str):
        what = "missing" if name is None else f"a {type(name).__name__}, not text"
        raise TokenizerError(
            f"{PREFIX}pre is {what}; without it there is no telling how text is cut into words"
        )
    cut = find_pre_tokenizer(name)
    if cut is None:
        raise TokenizerError(f"{PREFIX}pre is {name!r}, which is not a known way of cutting text")
    return cut


def _build(
    metadata: Mapping[str, object], vocabulary: Vocabulary, cut: PreTokenizer
) -> tokenizers.Tokenizer:
    texts = searchable_texts(vocabulary, hide_control=True)
    ids = dict(zip(texts, range(len(texts)), strict=True))
    if len(ids) != len(texts):
        raise TokenizerError(describe_twice(texts))
    merges = _read_merges(metadata)
    try:
        model = models.BPE(ids, merges, ignore_merges=cut.whole_words)
    except Exception as error:  # the library raises bare Exception
        raise TokenizerError(f"{PREFIX}merges does not fit the vocabulary: {error}") from None
    library = tokenizers.Tokenizer(model)
    spell_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    library.pre_tokenizer = pre_tokenizers.Sequence(
        [*map(_split, cut.patterns), spell_bytes, *map(_split, cut.byte_patterns)]
    )
    return library


def _split(pattern: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


def _read_merges(metadata: Mapping[str, object]) -> list[tuple[str, str]]:
    merges = read_strings(metadata, "merges")
    try:
        pairs = [tuple(merge.split(" ")) for merge in merges]
    except AttributeError:
        raise TokenizerError(f"{PREFIX}merges holds a value that is not text") from None
    if not set(map(len, pairs)) <= {2}:
        index = next(index for index, pair in enumerate(pairs) if len(pair) != 2)
        raise TokenizerError(
            f"{PREFIX}merges[{index}] is {merges[index]!r}, not two tokens and a space between"
        )
    return cast(list[tuple[str, str]], pairs)
