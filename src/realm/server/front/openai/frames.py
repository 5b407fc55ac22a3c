"""Chunks of streamed answers as bytes of server-sent events.

All but the text of a chunk is the same for a whole answer, so it is encoded once.
"""

from __future__ import annotations

from typing import Final, Protocol

import msgspec

from realm.server.front.openai.answers import FinishReason, Heading, Usage
from realm.server.front.openai.logprobs import chat_logprobs, completion_logprobs
from realm.server.wire.messages import Piece

DONE: Final = b"data: [DONE]\n\n"
_encode = msgspec.json.Encoder().encode


class Frames(Protocol):
    """How one kind of completion is streamed. index: which of several answers."""

    def opening(self, index: int) -> bytes:
        """Before an answer's first text."""

    def text(self, index: int, piece: Piece) -> bytes:
        """A piece of it."""

    def closing(self, index: int, reason: FinishReason) -> bytes:
        """After its last text."""

    def usage(self, usage: Usage) -> bytes:
        """After all answers."""


class ChatFrames:
    """Of `chat.completion.chunk` objects."""

    def __init__(self, heading: Heading, *, includes_usage: bool) -> None:
        """includes_usage: whether chunks have a field for it, which OpenAI makes null in all but
        the last."""
        self._head = _head(heading, "chat.completion.chunk")
        self._tail = b',"usage":null}\n\n' if includes_usage else b"}\n\n"
        self._after_text = b'},"logprobs":null,"finish_reason":null}]' + self._tail
        self._before_text: dict[int, bytes] = {}

    def opening(self, index: int) -> bytes:
        """The role."""
        start = self._start(index, b'"role":"assistant","content":""')
        return start + self._after_text

    def text(self, index: int, piece: Piece) -> bytes:
        """Text, and the log probabilities of its tokens."""
        before = self._before_text.get(index)
        if before is None:
            before = self._before_text[index] = self._start(index, b'"content":')
        if piece.logprobs is None:
            return before + _encode(piece.text) + self._after_text
        logprobs = _encode(chat_logprobs(piece.logprobs))
        after = b'},"logprobs":' + logprobs + b',"finish_reason":null}]' + self._tail
        return before + _encode(piece.text) + after

    def closing(self, index: int, reason: FinishReason) -> bytes:
        """The reason."""
        after = b'},"logprobs":null,"finish_reason":' + _encode(reason) + b"}]" + self._tail
        return self._start(index, b"") + after

    def usage(self, usage: Usage) -> bytes:
        """Without choices."""
        return self._head + b'[],"usage":' + _encode(usage) + b"}\n\n"

    def _start(self, index: int, delta: bytes) -> bytes:
        return self._head + b'[{"index":%d,"delta":{' % index + delta


class CompletionFrames:
    """Of `text_completion` objects."""

    def __init__(self, heading: Heading, *, includes_usage: bool) -> None:
        """includes_usage: as for ChatFrames."""
        self._head = _head(heading, "text_completion")
        self._tail = b',"usage":null}\n\n' if includes_usage else b"}\n\n"
        self._after_text = b',"logprobs":null,"finish_reason":null}]' + self._tail
        self._offsets: dict[int, int] = {}

    def opening(self, index: int) -> bytes:
        """Nothing."""
        del index
        return b""

    def text(self, index: int, piece: Piece) -> bytes:
        """Text, and the log probabilities of its tokens."""
        before = self._start(index) + _encode(piece.text)
        if piece.logprobs is None:
            return before + self._after_text
        offset = self._offsets.get(index, 0)
        logprobs = completion_logprobs(piece.logprobs, offset)
        self._offsets[index] = offset + sum(map(len, logprobs.tokens))
        after = b',"logprobs":' + _encode(logprobs) + b',"finish_reason":null}]' + self._tail
        return before + after

    def closing(self, index: int, reason: FinishReason) -> bytes:
        """The reason."""
        after = b'"","logprobs":null,"finish_reason":' + _encode(reason) + b"}]" + self._tail
        return self._start(index) + after

    def usage(self, usage: Usage) -> bytes:
        """Without choices."""
        return self._head + b'[],"usage":' + _encode(usage) + b"}\n\n"

    def _start(self, index: int) -> bytes:
        return self._head + b'[{"index":%d,"text":' % index


def _head(heading: Heading, kind: str) -> bytes:
    fields = {"id": heading.id, "object": kind, "created": heading.created}
    named = {"model": heading.model, "system_fingerprint": heading.system_fingerprint}
    return b"data: " + _encode({**fields, **named})[:-1] + b',"choices":'
