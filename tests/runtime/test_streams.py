"""Streams: pieces as they come, cancelled by closing, bounded for a slow client."""

from __future__ import annotations

import gc
import threading

import pytest

from realm.errors import CancelledError, ConfigError, ContextLengthError, RequestError

from .fakes import CONTEXT

BOTH = pytest.mark.parametrize("direct", [False, True], ids=["guest", "direct"])
LONG = b"x" * 1500


@BOTH
def test_the_result_stands_after_the_last_piece(speak, direct):
    stream = speak(b"abc").stream("x", direct=direct)
    with pytest.raises(RequestError, match="not ended"):
        _ = stream.result
    assert "".join(piece.text for piece in stream) == "abc"
    assert stream.result.text == "abc"
    assert list(stream) == []
    stream.close()
    assert stream.result.finish_reason == "stop"


@BOTH
def test_closing_cancels_and_frees_the_sequence(speak, direct):
    tenant = speak(LONG)
    stream = tenant.stream("x", max_tokens=1500, direct=direct)
    first = next(stream)
    stream.close()
    assert not tenant.stage.engine.sequences
    assert stream.result.finish_reason == "cancelled"
    assert stream.result.text.startswith(first.text)
    assert len(stream.result.token_ids) < 1500
    assert tenant.stage.engine.script, "the engine went no further"


@BOTH
def test_leaving_the_block_or_dropping_the_stream_cancels(speak, direct):
    tenant = speak(None)
    request = {"token_ids": [97] * 900, "max_tokens": 1000, "direct": direct}
    with tenant.stream(**request) as stream:
        next(stream)
    assert not tenant.stage.engine.sequences
    dropped = tenant.stream(**request)
    next(dropped)
    del dropped
    gc.collect()
    assert tenant.generate("after", direct=direct).text == "after"
    assert not tenant.stage.engine.sequences


@BOTH
def test_a_client_that_does_not_read_holds_its_own_request_back(speak, direct):
    tenant = speak(None)
    engine = tenant.stage.engine
    prompt = [97] * 900
    slow = tenant.stream(token_ids=prompt, max_tokens=1000, direct=direct)
    sequences = engine.sequences
    is_full = threading.Event()

    def generated() -> int:
        return max((len(s.tokens) - 900 for s in sequences.values()), default=0)

    engine.on_step = lambda: is_full.set() if generated() >= 256 else None
    next(slow)
    assert is_full.wait(30)
    for _ in range(3):
        assert tenant.generate("others go on", direct=direct).text == "others go on"
    # One piece was taken, 256 wait, one found no room, and one token is on its way.
    assert generated() <= 259
    assert len("".join(piece.text for piece in slow)) == 898


@BOTH
def test_errors_come_out_of_the_iteration(speak, direct):
    tenant = speak(b"abc")
    stream = tenant.stream(token_ids=[1] * (CONTEXT + 1), direct=direct)
    with pytest.raises(ContextLengthError):
        list(stream)
    with pytest.raises(ContextLengthError):
        _ = stream.result


@BOTH
def test_closing_the_runtime_ends_what_runs(speak, direct):
    tenant = speak(LONG)
    stream = tenant.stream("x", max_tokens=1500, direct=direct)
    next(stream)
    tenant.stage.loop.close()
    with pytest.raises(CancelledError):
        list(stream)
    with pytest.raises(RequestError, match="closed"):
        tenant.generate("x", direct=direct)
    assert not tenant.stage.engine.sequences


def test_timings_add_up(speak):
    result = speak(b"abc").generate("x")
    timings = result.timings
    assert (timings.prompt_tokens, timings.completion_tokens) == (2, 3)
    assert timings.load_seconds == 0.5
    assert 0 <= timings.queue_seconds <= timings.first_token_seconds <= timings.total_seconds
    parts = timings.queue_seconds + timings.prefill_seconds + timings.decode_seconds
    assert parts <= timings.total_seconds
    assert 0 < timings.guest_seconds + timings.native_seconds < timings.total_seconds
    assert timings.tokens_per_second == pytest.approx(2 / timings.decode_seconds)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, RequestError, "one of prompt"),
        ({"prompt": "x", "token_ids": [1]}, RequestError, "one of prompt"),
        ({"prompt": 5}, RequestError, "must be text"),
        ({"messages": []}, RequestError, "empty"),
        ({"messages": ["hello"]}, RequestError, r"messages\[0\]"),
        ({"token_ids": []}, RequestError, "empty"),
        ({"token_ids": [300]}, RequestError, r"token_ids\[0\] is 300"),
        ({"token_ids": [-1]}, RequestError, "is -1"),
        ({"prompt": "x", "max_tokens": 0}, ConfigError, "max_tokens"),
        ({"prompt": "x", "temperature": -1}, ConfigError, "temperature"),
        ({"prompt": "x", "temperature": "hot"}, ConfigError, "wrong type"),
        ({"prompt": "x", "sampling": None}, ConfigError, "no option 'sampling'"),
        ({"prompt": "x", "colour": 1}, ConfigError, "no option 'colour'"),
        ({"prompt": "x", "stop": [""]}, ConfigError, "stop"),
        ({"messages": [{"role": {1}, "content": ""}]}, RequestError, "not JSON"),
    ],
)
def test_requests_that_make_no_sense(speak, arguments, error, words):
    tenant = speak(b"abc")
    with pytest.raises(error, match=words):
        tenant.generate(**arguments)
    assert tenant.generate("x").text == "abc"
