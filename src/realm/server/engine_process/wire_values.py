"""Results of the runtime as messages say them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from realm.errors import TokenizerError
from realm.server.wire.messages import Finished, Piece, TokenLogprob

if TYPE_CHECKING:
    from realm.engine import TokenLogprobs
    from realm.model import StoredModel
    from realm.runtime import GenerationResult
    from realm.session import Piece as SessionPiece

_MOST_KNOWN = 1 << 16


class TokenTexts:
    """What tokens of one model say, each looked up once. For the writer's thread."""

    def __init__(self, model: StoredModel) -> None:
        self._model = model
        self._known: dict[int, bytes] = {}

    def bytes_of(self, token_id: int) -> bytes:
        """A token's own bytes, a control token's name; nothing for an id without a text."""
        found = self._known.get(token_id)
        if found is None:
            try:
                found = self._model.tokenizer.token_bytes(token_id)
            except TokenizerError:
                found = b""
            if len(self._known) < _MOST_KNOWN:
                self._known[token_id] = found
        return found


def wire_piece(number: int, pieces: Sequence[SessionPiece], texts: TokenTexts) -> Piece:
    """Pieces that came since the last time, as one."""
    if len(pieces) == 1:
        piece = pieces[0]
        logprobs = _logprobs(piece.logprobs, texts) if piece.logprobs else None
        return Piece(number, piece.text, list(piece.token_ids), logprobs)
    found = [each for piece in pieces for each in piece.logprobs]
    return Piece(
        number,
        "".join(piece.text for piece in pieces),
        [token for piece in pieces for token in piece.token_ids],
        _logprobs(found, texts) if found else None,
    )


def wire_result(number: int, result: GenerationResult, texts: TokenTexts) -> Finished:
    """A whole generation."""
    return Finished(
        number,
        result.text,
        list(result.token_ids),
        len(result.prompt_token_ids),
        result.finish_reason,
        asdict(result.timings),
        result.response,
        None if result.logprobs is None else _logprobs(result.logprobs, texts),
    )


def _logprobs(logprobs: Iterable[TokenLogprobs | None], texts: TokenTexts) -> list[TokenLogprob]:
    return [
        TokenLogprob(
            each.token_id,
            texts.bytes_of(each.token_id),
            each.logprob,
            [(token, texts.bytes_of(token), value) for token, value in each.top],
        )
        for each in logprobs
        if each is not None
    ]
