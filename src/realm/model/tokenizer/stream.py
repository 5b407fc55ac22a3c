"""Ids one by one to text that is whole at every moment. Never emits half a character."""

from __future__ import annotations

import codecs
from collections.abc import Callable


class PieceReader:
    """The bytes that each id adds to a text, in order.

    Vocabularies that write a space before a text (SentencePiece's dummy prefix) get it removed
    where a text begins: at the start and after a control token.
    """

    __slots__ = ("_at_start", "_drops_space", "_is_control", "_skip_special", "_token_bytes")

    def __init__(
        self,
        token_bytes: Callable[[int], bytes],
        is_control: Callable[[int], bool],
        *,
        drops_space: bool,
        skip_special: bool,
        continuation: bool,
    ) -> None:
        """continuation: the ids go on where other text ended, so that a first space is real."""
        self._token_bytes = token_bytes
        self._is_control = is_control
        self._drops_space = drops_space
        self._skip_special = skip_special
        self._at_start = drops_space and not continuation

    def read(self, token_id: int) -> bytes:
        """The bytes of the next token. Raises TokenizerError if it is not in the vocabulary."""
        piece = self._token_bytes(token_id)
        if self._is_control(token_id):
            self._at_start = self._drops_space
            return b"" if self._skip_special else piece
        if self._at_start and piece:
            self._at_start = False
            return piece.removeprefix(b" ")
        return piece


class StreamDecoder:
    """Text from ids pushed one at a time; not for use by two threads at once.

    The pieces and finish() joined are what decode() gives for the same ids.
    """

    __slots__ = ("_decoder", "_reader")

    def __init__(self, reader: PieceReader) -> None:
        self._reader = reader
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token_id: int) -> str:
        """The text that became whole with this id; empty while a character is not complete."""
        return self._decoder.decode(self._reader.read(token_id))

    def finish(self) -> str:
        """What is left: U+FFFD for a character that was never completed, or nothing."""
        return self._decoder.decode(b"", final=True)
