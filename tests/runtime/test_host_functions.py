"""Each host function by its contract: what it writes, what it returns, what it refuses."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm.errors import CapacityError
from realm.runtime.contract import HOST_FUNCTIONS, ErrorCode
from realm.runtime.host_call import WaitForLayer, WaitForRoom, WaitForStep
from realm.runtime.host_functions import HANDLERS, answer_call
from realm.runtime.layouts import SAMPLE_PARAMETERS
from realm.runtime.limits import GuestLimits

from .fakes import CONTEXT, END, HIDDEN, LAYERS, VOCABULARY, make_bench

PLACES = {function.name: number for number, function in enumerate(HOST_FUNCTIONS)}
OUT = 1024


class Caller:
    """Calls host functions by name, as a guest would, and puts bytes into its memory."""

    def __init__(self, **options) -> None:
        self.bench = make_bench(**options)

    def __call__(self, name, *arguments):
        state = self.bench.state
        answer = answer_call(state, HANDLERS[PLACES[f"realm_{name}"]], state, *arguments)
        if isinstance(answer, WaitForLayer):
            (rows,) = self.bench.engine.forward_layers([answer.rows])
            return answer_call(state, answer.complete, rows)
        return answer

    def put(self, data: bytes, at: int = 0) -> tuple[int, int]:
        self.bench.guest.memory[at : at + len(data)] = data
        return at, len(data)

    def put_ids(self, *ids: int, at: int = 0) -> tuple[int, int]:
        self.put(struct.pack(f"<{len(ids)}I", *ids), at)
        return at, len(ids)

    def out(self, length: int) -> bytes:
        return bytes(self.bench.guest.memory[OUT : OUT + length])

    def model(self) -> int:
        return self("host_load_model_by_name", *self.put(b"fake"))

    def session(self, *ids: int) -> int:
        session = self("session_open", self.model())
        if ids:
            assert self("session_prefill", session, *self.put_ids(*ids)) == len(ids)
        return session

    def finish(self, wait):
        """The answer of a call that waits for the engine's next step."""
        assert isinstance(wait, WaitForStep)
        (output,) = self.bench.engine.step()
        return answer_call(self.bench.state, wait.complete, output)


@pytest.fixture
def call():
    return Caller()


def test_models_are_handles_of_names_on_the_list(call):
    assert call.model() == 1
    assert call.model() == 2
    assert call("host_load_model_by_name", *call.put(b"/etc/passwd")) == -ErrorCode.NOT_FOUND
    assert call("host_load_model_by_name", *call.put(b"\xff\xfe")) == -ErrorCode.UTF8
    assert call.model() == -ErrorCode.LIMIT
    assert call("remove_model", 1) == 0
    assert call("remove_model", 1) == -ErrorCode.HANDLE
    assert call.model() == 3, "a handle is never used again"


def test_model_info_and_metadata(call):
    model = call.model()
    assert call("get_model_info", model, OUT, OUT + 8) == 0
    assert struct.unpack("<I4xQ", call.out(16)) == (7, 1 << 40)
    size = call("get_model_metadata", model, OUT, 2000)
    assert json.loads(call.out(size))["end_of_generation_ids"] == [END]


def test_a_small_buffer_stays_untouched_and_the_size_is_told(call):
    model = call.model()
    call.put(b"\xaa" * 64, OUT)
    assert call("get_model_metadata", model, OUT, 10) == -ErrorCode.BUFFER
    assert call.out(64) == b"\xaa" * 64
    needed = call("last_size")
    assert call("get_model_metadata", model, OUT, needed) == needed
    assert call("encode_tokens", model, *call.put(b"hello"), OUT, 5) == -ErrorCode.BUFFER
    assert call("last_size") == 6, "counted in ids"


def test_text_to_ids_and_back(call):
    model = call.model()
    assert call("encode_tokens", model, *call.put(b"<bos>"), OUT, 100) == 6
    assert np.frombuffer(call.out(24), "<u4").tolist() == [256, *b"<bos>"]
    assert call("encode_text", model, *call.put(b"a<bos>"), 2, OUT, 100) == 2
    assert np.frombuffer(call.out(8), "<u4").tolist() == [ord("a"), 256]
    assert call("encode_text", model, *call.put(b"a"), 4, OUT, 100) == -ErrorCode.INVALID
    assert call("decode_tokens", model, *call.put_ids(104, 256, 105), OUT, 100) == 2
    assert call.out(2) == b"hi"
    assert call("decode_tokens", model, *call.put_ids(VOCABULARY), OUT, 9) == -ErrorCode.TOKENIZER


def test_a_chat_is_rendered_by_the_models_template(call):
    model = call.model()
    messages = json.dumps([{"role": "user", "content": "hi"}]).encode()
    size = call("render_chat", model, *call.put(messages), OUT, 100)
    assert call.out(size) == b"<bos>user: hi"


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (b"{", ErrorCode.JSON),
        (b"{}", ErrorCode.JSON),
        (b"[1]", ErrorCode.JSON),
        (b"[" * 3000, ErrorCode.JSON),
        (b"[]", ErrorCode.TEMPLATE),
        (b'[{"role":"user"}]', ErrorCode.TEMPLATE),
        (b"\xff", ErrorCode.UTF8),
    ],
)
def test_messages_that_are_none(call, messages, code):
    assert call("render_chat", call.model(), *call.put(messages[:900]), OUT, 100) == -code


def test_layers_work_on_rows(call):
    model = call.model()
    count = call("embed_tokens", model, *call.put_ids(3, 5), OUT)
    assert count == 2 * HIDDEN
    assert call("forward_layer", model, 1, OUT, count, 0, OUT) == count
    rows = np.frombuffer(call.out(count * 4), "<f4").reshape(2, HIDDEN)
    assert rows[:, 0].tolist() == [7.0, 11.0]
    assert call("compute_logits", model, OUT, HIDDEN, OUT) == VOCABULARY
    assert np.frombuffer(call.out(4), "<f4")[0] == 7.0 * HIDDEN
    assert len(call.bench.engine.sequences) == 1
    call("remove_model", model)
    assert not call.bench.engine.sequences


def test_layers_refuse_what_does_not_fit(call):
    model = call.model()
    invalid = -ErrorCode.INVALID
    assert call("embed_tokens", model, 0, 0, OUT) == invalid
    assert call("embed_tokens", model, *call.put_ids(VOCABULARY), OUT) == -ErrorCode.TOKENIZER
    assert call("forward_layer", model, LAYERS, 0, HIDDEN, 0, OUT) == invalid
    assert call("forward_layer", model, -1, 0, HIDDEN, 0, OUT) == invalid
    assert call("forward_layer", model, 0, 0, HIDDEN + 1, 0, OUT) == invalid
    assert call("forward_layer", model, 0, 0, 0, 0, OUT) == invalid
    assert call("forward_layer", model, 0, 0, HIDDEN, -1, OUT) == invalid
    assert call("compute_logits", model, 0, HIDDEN + 1, OUT) == invalid
    assert call("compute_logits", model, 0, HIDDEN, 4096 - 4) == -ErrorCode.POINTER


def test_a_session_samples_with_the_requests_own_policy_or_another():
    call = Caller(script=b"xy")
    session = call.session(1, 2)
    assert call.finish(call("session_sample", session, 0, OUT, 1)) == 1
    assert struct.unpack("<I", call.out(4)) == (ord("x"),)
    parameters = SAMPLE_PARAMETERS.pack(0.5, 0.25, 4, 0.125, 2.0, 0.5, 0.75, 1 << 60)
    pointer, _ = call.put(parameters, 512)
    assert call.finish(call("session_sample", session, pointer, OUT, 1)) == 1
    own, other = call.bench.engine.sampled
    assert own.seed == 9
    assert (other.temperature, other.top_p, other.top_k, other.min_p) == (0.5, 0.25, 4, 0.125)
    assert (other.repetition_penalty, other.presence_penalty) == (2.0, 0.5)
    assert (other.frequency_penalty, other.seed) == (0.75, 1 << 60)
    assert call("session_position", session) == 4
    first = call.bench.state.first_session
    assert (first.prompt_token_ids, first.token_ids) == ([1, 2], [*b"xy"])


def test_a_policy_out_of_its_range_is_refused(call):
    session = call.session(1)
    for values in [
        (-1.0, 0.9, 0, 0.0, 1.0, 0.0, 0.0, 0),
        (float("nan"), 0.9, 0, 0.0, 1.0, 0.0, 0.0, 0),
        (1.0, 0.0, 0, 0.0, 1.0, 0.0, 0.0, 0),
        (1.0, 0.9, 0, 0.0, 0.0, 0.0, 0.0, 0),
        (1.0, 0.9, 0, 0.0, 1.0, float("inf"), 0.0, 0),
    ]:
        call.put(SAMPLE_PARAMETERS.pack(*values), 512)
        assert call("session_sample", session, 512, OUT, 1) == -ErrorCode.INVALID
    assert not call.bench.engine.waiting


def test_logits_cross_when_they_fit(call):
    session = call.session(1)
    assert call("session_logits", session, OUT, VOCABULARY - 1) == -ErrorCode.BUFFER
    assert call("last_size") == VOCABULARY
    assert call.finish(call("session_logits", session, OUT, VOCABULARY)) == VOCABULARY
    written = np.frombuffer(call.out(4 * VOCABULARY), "<f4")
    assert written.tolist() == list(range(VOCABULARY))


def test_the_same_logits_again_and_again_are_charged(call):
    session = call.session(1)
    turns = call.bench.state.surroundings.services.account.turns

    def ask() -> None:
        assert call.finish(call("session_logits", session, OUT, VOCABULARY)) == VOCABULARY

    for token in range(100):
        ask()
        assert call("session_accept", session, *call.put_ids(token % 7)) == 1
        ask()
        assert call("session_rewind", session, 1) == 0
    assert not turns.is_spent(0.0)
    ask()
    for _ in range(25):
        assert not turns.is_spent(0.0)
        ask()
        assert call("session_rewind", session, 1) == 0
    ask()
    assert turns.is_spent(0.0)


def test_the_same_token_again_and_again_is_charged(call):
    session = call.session(1)
    turns = call.bench.state.surroundings.services.account.turns

    def draw(seed: int) -> None:
        call.put(SAMPLE_PARAMETERS.pack(0.5, 0.9, 0, 0.0, 1.0, 0.0, 0.0, seed), 512)
        assert call.finish(call("session_sample", session, 512, OUT, 1)) == 1
        assert call("session_rewind", session, 1) == 0

    for seed in range(100):  # other noise, another token
        draw(seed)
    for token in range(100):  # another text before it
        assert call("session_accept", session, *call.put_ids(token % 7)) == 1
        assert call("session_rewind", session, 1) == 0
        draw(99)
    assert not turns.is_spent(0.0)
    for _ in range(25):
        assert not turns.is_spent(0.0)
        draw(99)
    draw(99)
    assert turns.is_spent(0.0)


def test_accept_fork_rewind_position(call):
    session = call.session(1, 2, 3)
    assert call("session_accept", session, *call.put_ids(7, 8)) == 2
    copy = call("session_fork", session)
    assert call("session_position", copy) == 5
    assert call("session_rewind", session, 2) == 0
    assert call("session_position", session) == 2
    assert call("session_position", copy) == 5
    first = call.bench.state.first_session
    assert (first.prompt_token_ids, first.token_ids) == ([1, 2], [])
    for position in (-1, 3):
        assert call("session_rewind", session, position) == -ErrorCode.INVALID


def test_closed_and_foreign_sessions_are_no_handles(call):
    session = call.session(1)
    assert call("session_close", session) == 0
    for name, *rest in [
        ("session_prefill", 0, 1),
        ("session_sample", 0, OUT, 1),
        ("session_logits", OUT, 1),
        ("session_accept", 0, 1),
        ("session_fork",),
        ("session_rewind", 0),
        ("session_position",),
        ("session_close",),
    ]:
        for handle in (session, 0, -1, 77):
            assert call(name, handle, *rest) == -ErrorCode.HANDLE
    assert not call.bench.engine.sequences


def test_sessions_are_counted(call):
    model = call.model()
    assert [call("session_open", model) for _ in range(4)] == [1, 2, 3, -ErrorCode.LIMIT]
    assert call("session_fork", 1) == -ErrorCode.LIMIT
    assert len(call.bench.engine.sequences) == 3


def test_the_engines_errors_have_their_codes():
    call = Caller(capacity=20)
    session = call.session()
    call.bench.engine.sequences[2].tokens += [0] * (CONTEXT - 1)
    assert call("session_prefill", session, *call.put_ids(1, 2)) == -ErrorCode.CONTEXT
    call.bench.engine.sequences[2].tokens.clear()
    assert call("session_prefill", session, *call.put_ids(*range(21))) == -ErrorCode.CAPACITY
    assert isinstance(call.bench.state.last_exception, CapacityError)
    assert call.bench.state.last_code is ErrorCode.CAPACITY


def test_a_fault_of_the_host_is_a_code_too(call, caplog):
    session = call.session(1)
    call.bench.engine.position = lambda sequence: 1 // 0
    assert call("session_position", session) == -ErrorCode.INTERNAL
    assert "ZeroDivisionError" in caplog.text


def test_streamed_text_carries_its_tokens(call):
    session = call.session(1)
    call("session_accept", session, *call.put_ids(104, 105))
    assert call("stream_token", *call.put(b"hi")) == 0
    assert call("stream_token", *call.put(b"")) == 0
    assert call("stream_token", *call.put("ü".encode())) == 0
    assert call("stream_token", *call.put(b"\xc3")) == -ErrorCode.UTF8
    assert [(piece.text, piece.token_ids) for piece in call.bench.pieces] == [
        ("hi", (104, 105)),
        ("ü", ()),
    ]


def test_a_client_without_room_makes_the_guest_wait(call):
    call.bench.room[0] = False
    wait = call("stream_token", *call.put(b"late"))
    assert isinstance(wait, WaitForRoom)
    call.put(b"LATE")
    assert isinstance(answer_call(call.bench.state, wait.retry), WaitForRoom)
    call.bench.room[0] = True
    assert answer_call(call.bench.state, wait.retry) == 0
    assert [piece.text for piece in call.bench.pieces] == ["late"]


def test_output_response_and_log_are_bounded():
    call = Caller(
        limits=GuestLimits(output_bytes=5, response_bytes=5, log_bytes=37, random_bytes=5)
    )
    assert call("stream_token", *call.put(b"12345")) == 0
    assert call("stream_token", *call.put(b"6")) == -ErrorCode.LIMIT
    assert call("respond", *call.put(b"123456")) == -ErrorCode.LIMIT
    assert call("respond", *call.put(b"12345")) == 0
    assert call("respond", *call.put(b"1")) == -ErrorCode.STATE
    assert call("log", 2, *call.put(b"12345")) == 0
    assert call("log", 2, *call.put(b"6")) == -ErrorCode.LIMIT
    assert call("log", 4, *call.put(b"")) == -ErrorCode.INVALID
    assert call("random", OUT, 6) == -ErrorCode.LIMIT
    assert call.bench.logged == [(2, "12345")]


def test_text_and_ids_are_bounded_before_they_are_copied():
    call = Caller(limits=GuestLimits(text_bytes=8))
    model, session = call.model(), call.session()
    nine = call.put(b"123456789")
    assert call("encode_tokens", model, *nine, OUT, 100) == -ErrorCode.LIMIT
    assert call("render_chat", model, *nine, OUT, 100) == -ErrorCode.LIMIT
    assert call("host_generate", model, *nine, 0, OUT, 100) == -ErrorCode.LIMIT
    assert call("decode_tokens", model, 0, 9, OUT, 100) == -ErrorCode.CONTEXT
    call.bench.guest.memory += bytes(4 * HIDDEN * (CONTEXT + 1))
    for name in ("session_prefill", "session_accept"):
        assert call(name, session, 0, CONTEXT + 1) == -ErrorCode.CONTEXT
    assert call("embed_tokens", model, 0, CONTEXT + 1, 0) == -ErrorCode.CONTEXT
    rows = (CONTEXT + 1) * HIDDEN
    assert call("forward_layer", model, 0, 0, rows, 0, 0) == -ErrorCode.CONTEXT


def test_the_last_error_is_readable_twice(call):
    call("remove_model", 77)
    assert call("last_error", OUT, 3) == -ErrorCode.BUFFER
    size = call("last_size")
    assert call("last_error", OUT, size) == size
    assert call.out(size) == b"no model handle 77"


def test_time_counts_from_the_start_and_randomness_repeats(call):
    call.bench.clock[0] = 1.5
    assert call("now_ms") == 1500
    call.bench.clock[0] = 1e9
    assert call("now_ms") == 2**31 - 1
    assert call("random", OUT, 16) == 16
    first = call.out(16)
    call("random", OUT, 16)
    assert call.out(16) != first
    again = Caller()
    again("random", OUT, 16)
    assert again.out(16) == first


def argument(function_name: str, parameter):
    """Numbers that a hostile guest would try, in the range of the parameter's type."""
    edges = [0, 1, 2, 3, 4, 7, 8, 64, 4088, 4095, 4096, 4097]
    if parameter.letters == "iI":
        wide = [2**31, 2**32 - 1, 2**62, 2**63, 2**64 - 1]
        return st.sampled_from(edges + wide)
    low = -(2**31) if parameter.kind == "i32" else 0
    high = 2**31 - 1 if parameter.kind == "i32" else 2**32 - 1
    return st.sampled_from([*edges, low, high])


calls = st.sampled_from(HOST_FUNCTIONS).flatmap(
    lambda function: st.tuples(
        st.just(function), st.tuples(*(argument(function.name, p) for p in function.parameters))
    )
)


@settings(max_examples=300, deadline=None)
@given(st.lists(calls, min_size=1, max_size=12))
def test_no_sequence_of_calls_raises_or_writes_outside(sequence):
    call = Caller()
    session = call.session(1, 2)
    assert session == 1
    for function, arguments in sequence:
        if function.name == "realm_host_generate":
            continue
        answer = call(function.name.removeprefix("realm_"), *arguments)
        if isinstance(answer, WaitForStep):
            answer = call.finish(answer)
        assert isinstance(answer, int)
        assert -len(ErrorCode) <= answer < 2**31
        assert answer != -ErrorCode.INTERNAL, call.bench.state.last_error
        assert len(call.bench.guest.memory) == 4096
    call.bench.state.close()
    assert not call.bench.engine.sequences
