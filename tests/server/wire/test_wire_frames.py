"""Frames: whole messages come back, and whatever else comes is a WireError."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm import errors
from realm.errors import RealmError, WireError
from realm.server.definitions import Model, Tenant
from realm.server.wire import messages as wire
from realm.server.wire.failures import error_of, failure_message
from realm.server.wire.frames import (
    MOST_FRAME_BYTES,
    FrameEncoder,
    FrameSplitter,
    decode_answer,
    decode_question,
)

QUESTIONS = [
    wire.Generate(1, "a", "m", "x", None, None, [("v", 0.5)], None, {"logit_bias": {3: 1.0}}, True),
    wire.Generate(
        2, "a", "m", None, [{"role": "user", "content": "é"}], None, None, "p", {}, False
    ),
    wire.Cancel(3),
    wire.Credit(4, 64),
    wire.Embed(5, "a", "m", ["x", [1, 2]], "mean"),
    wire.Configure(6, 1, [Model("m", "/x")], [Tenant("a")], [], [], []),
    wire.RemoveItem(7, "adapter", "x", None),
    wire.AskFigures(8, False),
]
ANSWERS = [
    wire.Pieces([wire.Piece(1, "x", [1], [wire.TokenLogprob(1, b"x", -0.5, [(2, b"y", -1.0)])])]),
    wire.Finished(1, "x", [1], 2, "stop", {"total_seconds": 0.5}, b"r"),
    wire.Embedded(2, 4, b"0" * 16, [3]),
    wire.Done(3),
    wire.Failed(4, "ConfigError", "no"),
    wire.Figures(5, {"a": {"speculation": {"by_source": {}}}}, {"steps": 1.0}),
]


def test_messages_come_back_however_they_are_cut():
    encoder = FrameEncoder()
    stream = b"".join(encoder.encode(each) for each in [*QUESTIONS, *QUESTIONS])
    for size in (1, 3, 7, 64, len(stream)):
        splitter = FrameSplitter()
        bodies = []
        for begin in range(0, len(stream), size):
            bodies += splitter.feed(stream[begin : begin + size])
        assert [decode_question(body) for body in bodies] == [*QUESTIONS, *QUESTIONS]
    bodies = FrameSplitter().feed(b"".join(encoder.encode(each) for each in ANSWERS))
    assert [decode_answer(body) for body in bodies] == ANSWERS


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode([]),
        msgspec.msgpack.encode(["unknown", 1]),
        msgspec.msgpack.encode(["cancel"]),
        msgspec.msgpack.encode(["cancel", "one"]),
        msgspec.msgpack.encode(["cancel", 1.5]),
        msgspec.msgpack.encode({"type": "cancel", "number": 1}),
        msgspec.msgpack.encode(["put-tenant", 1, {"tenant_id": "../x"}]),
        msgspec.msgpack.encode(["put-tenant", 1, {"tenant_id": "a", "extra": 1}]),
        msgspec.msgpack.encode(["embed", 1, "a", "m", [1.5], "mean"]),
        msgspec.msgpack.encode(["done", 1]),
        msgspec.msgpack.encode(["cancel", 1]) + b"\x00",
        b"\x91" * 100_000,
    ],
    ids=range(14),
)
def test_what_no_front_says_is_refused(body):
    with pytest.raises(WireError):
        decode_question(body)


def test_an_engine_does_not_ask():
    with pytest.raises(WireError):
        decode_answer(msgspec.msgpack.encode(wire.Cancel(1)))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_wire_error(data):
    for decode in (decode_question, decode_answer):
        with contextlib.suppress(WireError):
            decode(data)


@given(st.lists(st.binary(max_size=30), max_size=8))
def test_any_stream_is_cut_or_refused(parts):
    splitter = FrameSplitter()
    try:
        for part in parts:
            splitter.feed(part)
    except WireError as error:
        assert "frame" in str(error)


def test_frames_that_are_too_long():
    splitter = FrameSplitter()
    assert splitter.feed((MOST_FRAME_BYTES).to_bytes(4, "little")) == []
    with pytest.raises(WireError, match="67108865"):
        FrameSplitter().feed((MOST_FRAME_BYTES + 1).to_bytes(4, "little"))
    with pytest.raises(WireError, match="67108864 are the most"):
        FrameEncoder().encode(wire.Embedded(1, 1, bytes(MOST_FRAME_BYTES), []))


@pytest.mark.parametrize("value", ["\ud800", 1 << 80, object(), {1, object()}], ids=range(4))
def test_what_has_no_form_is_refused_and_the_encoder_goes_on(value):
    encoder = FrameEncoder()
    call = wire.Generate(1, "a", "m", "x", None, None, None, None, {"x": value}, True)
    with pytest.raises(WireError, match="cannot be sent"):
        encoder.encode(call)
    (body,) = FrameSplitter().feed(encoder.encode(wire.Cancel(1)))
    assert decode_question(body) == wire.Cancel(1)


@pytest.mark.parametrize(
    "kind",
    [
        each
        for each in vars(errors).values()
        if isinstance(each, type)
        and each is not RealmError
        and not each.__name__.startswith("Pipeline")  # raised by the front alone
    ],
    ids=lambda kind: kind.__name__,
)
def test_every_error_arrives_as_what_it_was(kind):
    error = error_of(failure_message(1, kind("why")))
    assert type(error) is kind
    assert str(error) == "why"


def test_errors_of_unknown_classes_and_with_seconds():
    assert type(error_of(wire.Failed(1, "NoSuchError", "why"))) is errors.ServerError
    assert type(error_of(wire.Failed(1, "ValueError", "why"))) is errors.ServerError
    assert type(error_of(wire.Failed(1, "PipelineStepError", "why"))) is errors.ServerError
    late = error_of(failure_message(1, errors.EngineUnavailableError("x", 7.0)))
    assert late.retry_after_seconds == 7.0
    assert error_of(failure_message(1, errors.RequestError("half \ud800"))).args == ("half ?",)

    class Unknown(errors.ConfigError):
        pass

    assert failure_message(1, Unknown("x")).kind == "ConfigError"
    assert failure_message(1, Unknown("/path"), "a file").message == "a file"
