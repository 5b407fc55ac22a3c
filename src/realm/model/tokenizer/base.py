"""What every tokenizer does alike: special tokens, bos and eos, decoding, streams.

Never looks at how plain text is cut; each kind of vocabulary does that in `_encode_plain`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from realm.errors import TokenizerError
from realm.model.tokenizer.special import SpecialTokens
from realm.model.tokenizer.stream import PieceReader, StreamDecoder
from realm.model.tokenizer.vocabulary import TokenKind, Vocabulary

_CONTROL_KINDS: Final = (int(TokenKind.CONTROL), int(TokenKind.UNKNOWN))
_BYTE_KIND: Final = int(TokenKind.BYTE)


class Tokenizer(ABC):
    """Text to ids and back. Immutable: any number of threads may use one at a time.

    Control tokens come out of text only with parse_special, which is for text that the host
    wrote (a chat template); whatever a user writes stays plain text without it.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        *,
        add_bos: bool,
        add_eos: bool,
        plain_special: SpecialTokens,
        trusted_special: SpecialTokens,
        drops_space: bool,
    ) -> None:
        """plain_special, trusted_special: what is cut out of text without, with parse_special."""
        self._vocabulary = vocabulary
        self._add_bos = add_bos and vocabulary.bos_id is not None
        self._add_eos = add_eos and vocabulary.eos_id is not None
        self._plain_special = plain_special
        self._trusted_special = trusted_special
        self._drops_space = drops_space

    @property
    def vocabulary_size(self) -> int:
        """How many tokens there are; ids are 0 .. vocabulary_size - 1."""
        return len(self._vocabulary)

    @property
    def bos_id(self) -> int | None:
        """The token that begins a text."""
        return self._vocabulary.bos_id

    @property
    def eos_id(self) -> int | None:
        """The token that ends a text."""
        return self._vocabulary.eos_id

    @property
    def unknown_id(self) -> int | None:
        """The token for what the vocabulary cannot write."""
        return self._vocabulary.unknown_id

    @property
    def end_of_generation_ids(self) -> frozenset[int]:
        """Every token that ends a generation: eos, eot, eom and the known ends of a turn."""
        return self._vocabulary.end_of_generation_ids

    @property
    def add_bos(self) -> bool:
        """Whether encode with add_special puts bos_id first."""
        return self._add_bos

    @property
    def add_eos(self) -> bool:
        """Whether encode with add_special puts eos_id last."""
        return self._add_eos

    def encode(
        self, text: str, *, add_special: bool = True, parse_special: bool = False
    ) -> list[int]:
        """The ids of a text.

        add_special: add bos and eos as the file asks. parse_special: read control tokens that
        the text names. Raises TokenizerError on a lone surrogate, and on a character that the
        vocabulary has no way to write.
        """
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise TokenizerError(
                    f"text has a lone surrogate, U+{ord(text[error.start]):04X}, at character "
                    f"{error.start}: it is not Unicode text"
                ) from None
        ids: list[int] = []
        if add_special and self._add_bos and self.bos_id is not None:
            ids.append(self.bos_id)
        special = self._trusted_special if parse_special else self._plain_special
        for part in special.partition(text):
            if isinstance(part, int):
                ids.append(part)
            else:
                ids.extend(self._encode_plain(part))
        if add_special and self._add_eos and self.eos_id is not None:
            ids.append(self.eos_id)
        return ids

    @abstractmethod
    def _encode_plain(self, text: str) -> Sequence[int]:
        """The ids of text that holds no special token; text is not empty and is Unicode."""

    @abstractmethod
    def _spelled_bytes(self, text: str, kind: int) -> bytes:
        """The bytes that a token of this spelling stands for; kind is not BYTE and not control."""

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for; a control token's are its name's.

        Raises TokenizerError if the id is not in the vocabulary.
        """
        kind = self._kind(token_id)
        text = self._vocabulary.tokens[token_id]
        if kind == _BYTE_KIND:
            return bytes((byte_of(text, token_id),))
        if kind in _CONTROL_KINDS:
            return text.encode()
        return self._spelled_bytes(text, kind)

    def decode_bytes(
        self, ids: Iterable[int], *, skip_special: bool = False, continuation: bool = False
    ) -> bytes:
        """The bytes of ids in order; continuation and skip_special as in `stream`."""
        reader = self._reader(skip_special, continuation)
        return b"".join(map(reader.read, ids))

    def decode(
        self, ids: Iterable[int], *, skip_special: bool = False, continuation: bool = False
    ) -> str:
        """The text of ids in order, with U+FFFD for bytes that are not UTF-8."""
        data = self.decode_bytes(ids, skip_special=skip_special, continuation=continuation)
        return data.decode("utf-8", "replace")

    def stream(self, *, skip_special: bool = True, continuation: bool = False) -> StreamDecoder:
        """A decoder for ids that come one by one.

        skip_special: leave control tokens out. continuation: the ids go on where a prompt ended,
        so that a first space is text, not the space that some vocabularies write before a text.
        """
        return StreamDecoder(self._reader(skip_special, continuation))

    def _reader(self, skip_special: bool, continuation: bool) -> PieceReader:
        return PieceReader(
            self.token_bytes,
            self._is_control,
            drops_space=self._drops_space,
            skip_special=skip_special,
            continuation=continuation,
        )

    def _kind(self, token_id: int) -> int:
        if not 0 <= token_id < len(self._vocabulary):
            raise TokenizerError(
                f"token {token_id} is not in a vocabulary of {len(self._vocabulary)} tokens"
            )
        return self._vocabulary.kinds[token_id]

    def _is_control(self, token_id: int) -> bool:
        return self._kind(token_id) in _CONTROL_KINDS


def byte_of(text: str, token_id: int) -> int:
    """The byte that a token named `<0x1F>` stands for; TokenizerError if it is not so named."""
    if len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
        with suppress(ValueError):
            (byte,) = bytes.fromhex(text[3:5])
            return byte
    raise TokenizerError(f"token {token_id} is a byte token named {text!r}, not <0x00> .. <0xFF>")
