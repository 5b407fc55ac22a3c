"""Frames of the local socket: 4 bytes of length, little-endian, then one MessagePack message.

What comes from the other side is checked: a frame that is too long, no MessagePack, an unknown tag
or a value of the wrong type is a WireError.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import msgspec

from realm.errors import WireError
from realm.server.wire.messages import Answer, Question

MOST_FRAME_BYTES = 64 << 20
"""Of one message; a longer one is not sent and not read."""

Message: TypeAlias = Question | Answer
_HEADER_BYTES = 4
T = TypeVar("T")


class FrameEncoder:
    """Messages as frames. For one thread at a time."""

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder()

    def encode(self, message: Message) -> bytearray:
        """One frame. Raises WireError for what has no form in MessagePack, or is too long."""
        frame = bytearray(_HEADER_BYTES)
        try:
            self._encoder.encode_into(message, frame, _HEADER_BYTES)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise WireError(f"a message cannot be sent: {error}") from None
        size = len(frame) - _HEADER_BYTES
        if size > MOST_FRAME_BYTES:
            raise WireError(f"a message of {size} bytes, {MOST_FRAME_BYTES} are the most")
        frame[:_HEADER_BYTES] = size.to_bytes(_HEADER_BYTES, "little")
        return frame


class FrameSplitter:
    """What was received, cut into frames. Holds at most what one frame may have, and a read."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """The bodies of the frames that are complete now. Raises WireError."""
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        begin = 0
        while len(buffer) - begin >= _HEADER_BYTES:
            body = begin + _HEADER_BYTES
            size = int.from_bytes(buffer[begin:body], "little")
            if size > MOST_FRAME_BYTES:
                raise WireError(f"a frame of {size} bytes, {MOST_FRAME_BYTES} are the most")
            if len(buffer) - body < size:
                break
            begin = body + size
            frames.append(bytes(memoryview(buffer)[body:begin]))
        del buffer[:begin]
        return frames


_QUESTIONS: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
_ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)


def decode_question(body: bytes) -> Question:
    """What the front says. Raises WireError."""
    return _decode(_QUESTIONS, body)


def decode_answer(body: bytes) -> Answer:
    """What the engine process says. Raises WireError."""
    return _decode(_ANSWERS, body)


def _decode(decoder: msgspec.msgpack.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise WireError(f"a message that cannot be understood: {error}") from None
