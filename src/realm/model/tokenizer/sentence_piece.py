"""SentencePiece vocabularies, the kind that GGUF calls `llama`, on the `sentencepiece` library.

The library is given the model that the file was converted from, rebuilt from pieces, scores and
kinds (https://github.com/google/sentencepiece, sentencepiece_model.proto). Never normalises text:
what is encoded comes back as it was.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sentencepiece import SentencePieceProcessor

from realm.errors import TokenizerError
from realm.model.tokenizer.base import Tokenizer, byte_of
from realm.model.tokenizer.special import SpecialTokens
from realm.model.tokenizer.vocabulary import (
    HIDDEN,
    PREFIX,
    TokenKind,
    Vocabulary,
    read_flag,
    read_numbers,
    read_vocabulary,
    searchable_texts,
)

_SPACE = "\u2581"
_MODEL_TYPE_BPE = 2


class SentencePieceTokenizer(Tokenizer):
    """Merges of characters by score, with bytes for what has no piece."""

    def __init__(self, metadata: Mapping[str, object]) -> None:
        """Raises TokenizerError, naming the key that is wrong."""
        vocabulary = read_vocabulary(metadata)
        add_space = read_flag(metadata, "add_space_prefix", True)
        self._library = SentencePieceProcessor()
        try:
            self._library.LoadFromSerializedProto(_model(metadata, vocabulary, add_space))
        except RuntimeError as error:
            raise TokenizerError(f"{PREFIX}tokens is not a usable vocabulary: {error}") from None
        super().__init__(
            vocabulary,
            add_bos=read_flag(metadata, "add_bos_token", True),
            add_eos=read_flag(metadata, "add_eos_token", False),
            plain_special=SpecialTokens({}),
            trusted_special=SpecialTokens(vocabulary.control),
            drops_space=add_space,
        )

    def _encode_plain(self, text: str) -> list[int]:
        ids: list[int] = self._library.EncodeAsIds(text)
        if ids and max(ids) >= self.vocabulary_size:
            raise TokenizerError("text has a character that the vocabulary has no token for")
        return ids

    def _spelled_bytes(self, text: str, kind: int) -> bytes:  # noqa: ARG002
        return text.replace(_SPACE, " ").encode()


def _model(metadata: Mapping[str, object], vocabulary: Vocabulary, add_space: bool) -> bytes:
    """A serialised ModelProto: pieces = 1, trainer_spec = 2, normalizer_spec = 3."""
    scores = read_numbers(metadata, "scores", len(vocabulary), "fiu")
    if scores is None:
        raise TokenizerError(f"{PREFIX}scores is missing")
    if not np.isfinite(scores).all():
        raise TokenizerError(f"{PREFIX}scores holds a value that is not finite")
    kinds = bytearray(vocabulary.kinds)
    unknown_id = _mark_unknown(vocabulary, kinds)
    byte_count = kinds.count(TokenKind.BYTE)
    if byte_count not in (0, 256):
        raise TokenizerError(f"{PREFIX}token_type has {byte_count} byte tokens, not 0 or 256")
    pieces = _pieces(vocabulary, bytes(kinds), scores.astype("<f4").tobytes())
    if unknown_id == len(vocabulary):
        pieces.append(_piece(f"{HIDDEN}unknown".encode(), bytes(4), TokenKind.UNKNOWN))
    trainer = _number(3, _MODEL_TYPE_BPE) + _number(35, byte_count == 256)
    trainer += _number(40, unknown_id) + b"".join(_number(field, -1) for field in (41, 42, 43))
    normalizer = _text(1, b"identity") + _number(3, add_space) + _number(4, False)
    return b"".join([*pieces, _text(2, trainer), _text(3, normalizer + _number(5, True))])


def _mark_unknown(vocabulary: Vocabulary, kinds: bytearray) -> int:
    """The library wants exactly one unknown piece: the file's, or one past its last token."""
    unknown_id = vocabulary.unknown_id
    if unknown_id is None:
        unknown_id = kinds.find(TokenKind.UNKNOWN)
    kinds[:] = kinds.replace(bytes((TokenKind.UNKNOWN,)), bytes((TokenKind.CONTROL,)))
    if unknown_id < 0:
        return len(vocabulary)
    if vocabulary.kinds[unknown_id] in (TokenKind.CONTROL, TokenKind.UNKNOWN):
        kinds[unknown_id] = TokenKind.UNKNOWN
        return unknown_id
    return len(vocabulary)


def _pieces(vocabulary: Vocabulary, kinds: bytes, scores: bytes) -> list[bytes]:
    """Every token as a serialised SentencePiece, in order of ids."""
    pieces: list[bytes] = []
    normal, control, byte = TokenKind.NORMAL, TokenKind.CONTROL, TokenKind.BYTE
    texts = searchable_texts(vocabulary, hide_control=False)
    for token_id, (text, kind) in enumerate(zip(texts, kinds, strict=True)):
        score = scores[4 * token_id : 4 * token_id + 4]
        if kind == normal:
            pieces.append(_piece(text.encode(), score, kind))
        elif kind == byte:
            pieces.append(_piece(b"<0x%02X>" % byte_of(text, token_id), score, kind))
        elif text.startswith(HIDDEN):
            pieces.append(_piece(text.encode(), score, control))
        else:
            # Converters write the spaces of user-defined tokens as spaces, the library does not.
            pieces.append(_piece(text.replace(" ", _SPACE).encode(), score, kind))
    return pieces


def _piece(text: bytes, score: bytes, kind: int) -> bytes:
    """A field of ModelProto: SentencePiece with piece = 1 (string), score = 2 (float), type = 3."""
    if len(text) < 0x70:
        return b"\x0a%c\x0a%c%b\x15%b\x18%c" % (len(text) + 9, len(text), text, score, kind)
    return _text(1, b"%b\x15%b\x18%c" % (_text(1, text), score, kind))


def _text(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value % 2**64)


def _varint(value: int) -> bytes:
    """Protocol Buffers base-128 number, lowest seven bits first."""
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
