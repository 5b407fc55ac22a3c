"""Host calls that are answered on the guest's own stack: when, and that nothing else changes."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from realm.errors import GuestError, GuestLimitError
from realm.runtime import _guest
from realm.runtime.limits import GuestLimits

from .wat import FOREVER, guest, wide_guest

DECODE, STREAM = "realm_decode_tokens", "realm_stream_token"
CALL = (
    "(call $realm_decode_tokens (i32.const 1) (i32.const 0)"
    " (i32.const {count}) (i32.const {out}) (i32.const {room}))"
)
SIZE = 2 << 16  # of the guests' memory
WORDS = {7: b"ab", 8: b"c", 9: b"", 200: b"\xff"}


@pytest.fixture
def table():
    found = _guest.TokenTable(100)
    for token, data in WORDS.items():
        found.learn(token, data)
    return found


@pytest.fixture
def start(compile_wat, limits):
    """A guest whose memory begins with this text."""

    def make(body, data=b"", make_guest=guest, **parts):
        letters = "".join(f"\\{byte:02x}" for byte in data)
        extra = f'(data (i32.const 0) "{letters}")' if data else ""
        source = make_guest(body, imports=(DECODE, STREAM), extra=extra, **parts)
        return compile_wat(source).start(b"{}", limits)

    return make


def ids(*tokens):
    return struct.pack(f"<{len(tokens)}I", *tokens)


def decoded(start, table, tokens, *, out=512, room=100, count_limit=64, count=None):
    """The outcome of decoding, and of a second call of the same guest that always parks it."""
    count = len(tokens) if count is None else count
    call = CALL.format(count=count, out=out, room=room)
    outside = "(call $realm_stream_token (i32.const 0) (i32.const 0))"
    started = start(f"(drop {call}) {outside}", ids(*tokens))
    started.know_tokens(1, table, count_limit)
    return started, started.poll()[1][1]


PARKED_THERE = (0, 0)  # in the second call


@pytest.mark.parametrize(
    ("tokens", "text"), [((7, 8), b"abc"), ((9,), b""), ((), b""), ((200, 7) * 32, b"\xffab" * 32)]
)
def test_known_tokens_are_decoded_at_once(start, table, tokens, text):
    started, arguments = decoded(start, table, tokens)
    assert arguments == PARKED_THERE
    assert started.read(512, len(text) + 1) == text + b"\0"
    assert started.news == (len(text), None, 0)
    assert started.news is None


def test_the_text_may_go_where_the_ids_are(start, table):
    started, arguments = decoded(start, table, (7, 7, 7), out=2)
    assert arguments == PARKED_THERE
    assert started.read(0, 10) == b"\x07\0ababab\x07\0"


@pytest.mark.parametrize(
    "given",
    [
        {"tokens": (7, 5)},
        {"tokens": (7, 8), "room": 2},
        {"tokens": (7,), "room": -1},
        {"tokens": (7,), "out": SIZE - 99},
        {"tokens": (7,), "out": -1},
        {"tokens": (7,) * 65},
        {"tokens": (7, 7), "count_limit": 1},
        {"tokens": (7,), "count": -1},
        {"tokens": (7,), "count": 1 << 30},
    ],
    ids=str,
)
def test_everything_else_is_left_to_the_host(start, table, given):
    started, arguments = decoded(start, table, **given)
    assert len(arguments) == 5
    assert started.read(512, 100) == bytes(100), "nothing was written"
    assert started.news is None


def test_a_handle_that_was_given_back_is_known_no_more(start, table):
    call = CALL.format(count=1, out=512, room=9)
    started = start(f"(drop {call}) {call}", ids(7))
    assert started.poll()[0] == _guest.PARKED, "no handle is known before it is told"
    started.know_tokens(1, table, 64)
    started.forget_tokens(1)
    started.resume(0)
    assert started.poll()[0] == _guest.PARKED


def test_ranges_of_64_bits_are_compared_as_such(compile_wat, limits, table):
    body = (
        "(drop (call $realm_decode_tokens (i32.const 1) (i64.const 0) (i64.const 1)"
        " (i64.const 512) (i64.const {room})))"
        " (call $realm_stream_token (i64.const {pointer}) (i64.const 1))"
    )
    for room, pointer, news in [(100, -1, None), (-1, 0, None), (100, 0, (0, "\0", 1))]:
        source = wide_guest(body.format(room=room, pointer=pointer), imports=(DECODE, STREAM))
        started = compile_wat(source).start(b"{}", limits)
        table.learn(0, b"")
        started.know_tokens(1, table, 64)
        outcome, payload = started.poll(100)
        assert (outcome == _guest.FINISHED) == (news is not None), payload
        if news is not None:
            assert started.news == news


def test_one_text_is_taken_for_each_turn(start):
    call = "(call $realm_stream_token (i32.const 0) (i32.const 3))"
    started = start(f"(drop {call}) (drop {call}) {call}", "é!".encode())
    assert started.poll()[0] == _guest.PARKED, "nothing is taken unasked"
    assert started.news is None
    started.resume(0)
    assert started.poll(3)[0] == _guest.PARKED
    assert started.news == (-1, "é!", 3)
    assert started.news is None
    started.resume(0)
    assert started.poll(3) == (_guest.FINISHED, 0)
    assert started.news is None, "the last call was answered by the host"


@pytest.mark.parametrize(
    ("data", "pointer", "size", "room"),
    [
        (b"abc", 0, 3, 2),
        (b"abc", 0, 0, 9),
        (b"", SIZE - 2, 3, 9),
        (b"", -1, 1, 9),
        (b"a\xff", 0, 2, 9),
        (b"\xe2\x82", 0, 2, 9),
    ],
    ids=str,
)
def test_other_texts_are_left_to_the_host(start, data, pointer, size, room):
    started = start(f"(call $realm_stream_token (i32.const {pointer}) (i32.const {size}))", data)
    assert started.poll(room)[0] == _guest.PARKED
    assert started.news is None


def test_utf8_is_what_python_takes_for_it(compile_wat, limits):
    body = "(call $realm_stream_token (local.get 0) (local.get 1))"
    program = compile_wat(guest(body, imports=(STREAM,)))
    random = np.random.default_rng(4)
    edges = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xDF, 0xE0, 0xED, 0xEF]
    edges += [0xE1, 0xEE, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF]
    texts = [bytes(random.choice(edges, size)) for size in (1, 2, 3, 4) for _ in range(700)]
    texts += [chr(code).encode("utf-8", "surrogatepass") for code in range(0, 0x110000, 997)]
    valid = 0
    for data in texts:
        started = program.start(data, limits)
        outcome, _ = started.poll(100)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            assert outcome == _guest.PARKED, data
        else:
            valid += 1
            assert (outcome, started.news) == (_guest.FINISHED, (-1, text, len(data)))
    assert 0 < valid < len(texts)


def test_no_handle_means_anything_before_the_program_has_begun(start):
    call = "(drop (call $realm_stream_token (i32.const -9) (i32.const 1)))"
    started = start(start=call, body="(i32.const 0)")
    assert started.poll(100)[0] == _guest.PARKED
    started.resume(0)
    assert started.poll(100) == (_guest.FINISHED, 0)


@pytest.mark.parametrize("end", ["(unreachable)", FOREVER + "(i32.const 0)"])
def test_text_reaches_the_client_before_what_ends_the_program(open_stage, compile_wat, limits, end):
    body = f"(drop (call $realm_stream_token (i32.const 0) (i32.const 1))) {end}"
    source = guest(body, imports=(STREAM,), extra='(data (i32.const 0) "x")')
    stream = open_stage().tenant(compile_wat(source), limits).stream("y")
    assert next(stream).text == "x"
    with pytest.raises(GuestError, match=r"unreachable|compute time"):
        next(stream)


@pytest.mark.parametrize("streamed", [True, False])
def test_output_is_counted_to_the_byte(open_stage, compile_wat, streamed):
    """The third call of two bytes is one too many for five."""
    call = "(call $realm_stream_token (i32.const 0) (i32.const 2))"
    source = guest(f"(drop {call}) (drop {call}) {call}", imports=(STREAM,))
    limits = GuestLimits(memory_bytes=1 << 20, output_bytes=5)
    tenant = open_stage().tenant(compile_wat(source), limits)
    with pytest.raises(GuestLimitError, match="more than 5 bytes of output"):
        list(tenant.stream("x")) if streamed else tenant.generate("x")


def test_a_full_table_forgets_before_it_learns(table):
    small = _guest.TokenTable(2)
    for token in (1, 2, 3):
        small.learn(token, bytes([token]))
    assert [small.find(token) for token in (1, 2, 3)] == [None, None, b"\x03"]
    assert [table.find(token) for token in WORDS] == list(WORDS.values())
