"""Models that guests store, tensors that they read, masks, constraints, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from realm.runtime.contract import ErrorCode
from realm.runtime.host_call import WaitForTurn
from realm.runtime.host_functions import answer_call
from realm.runtime.limits import GuestLimits, TenantLimits

from .fakes import CONTEXT, HIDDEN, PAGE_BYTES, VOCABULARY
from .test_host_functions import OUT, Caller

WORDS = -(-VOCABULARY // 32)
PAGE_TOKENS = 32


def store(call, model_id: int = 0, data: bytes = b"GGUF...") -> int:
    return call("store_model", *call.put(data), model_id)


def test_a_stored_model_is_a_handle_of_its_own():
    call = Caller(limits=GuestLimits(models=4))
    guest_models = call.bench.state.surroundings.services.guest_models
    assert store(call) == 1
    assert store(call, 3) == 3
    assert store(call, 3) == -ErrorCode.STATE
    assert store(call, -1) == -ErrorCode.INVALID
    assert call.model() == 2
    assert store(call) == 4, "3 was the guest's choice"
    assert store(call) == -ErrorCode.LIMIT
    assert len(guest_models.held) == 3
    assert call("encode_tokens", 3, *call.put(b"hi"), OUT, 10) == 3
    assert call("remove_model", 3) == 0
    assert len(guest_models.held) == 2
    assert store(call, 3) == 3, "free again"
    call.bench.state.close()
    assert guest_models.held == []
    assert call.bench.account.model_bytes == 0


def test_a_session_holds_the_model_it_was_opened_on():
    call = Caller()
    held = call.bench.state.surroundings.services.guest_models.held
    model = store(call)
    session = call("session_open", model)
    copy = call("session_fork", session)
    call("remove_model", model)
    call("session_close", session)
    assert len(held) == 1
    call("session_close", copy)
    assert held == []


def test_bytes_that_are_no_model_are_given_back():
    call = Caller()
    assert store(call, data=b"GIF89a") == -ErrorCode.MODEL
    assert call.bench.account.model_bytes == 0
    assert call.bench.state.models.values() == []


def test_lower_limits_do_not_keep_what_is_given_back():
    call = Caller()
    guest_models = call.bench.state.surroundings.services.guest_models
    model = store(call)
    store(call)
    call.bench.account.limits = TenantLimits(model_bytes=1)
    assert call("remove_model", model) == 0
    assert store(call, data=b"GGUF") == -ErrorCode.LIMIT
    call.bench.state.close()
    assert guest_models.held == []
    assert call.bench.account.model_bytes == 0


def test_stored_bytes_are_bounded_before_they_are_copied():
    call = Caller(tenant_limits=TenantLimits(model_bytes=10))
    assert store(call, data=b"GGUF567") == 1
    reads = []
    call.bench.guest.read = lambda *where: reads.append(where)
    assert store(call, data=b"GGUF") == -ErrorCode.LIMIT
    assert call("store_model", 0, 1 << 20, 0) == -ErrorCode.POINTER
    assert reads == []
    assert call.bench.account.model_bytes == 7


def test_a_large_model_is_copied_in_several_turns():
    size = 5 << 20
    call = Caller(memory_bytes=size)
    call.put(b"GGUF")
    answer = call("store_model", 0, size, 0)
    turns = 1
    while isinstance(answer, WaitForTurn):
        answer = answer_call(call.bench.state, answer.retry)
        turns += 1
    assert (answer, turns) == (1, 3)


def test_a_guest_that_ends_while_it_stores_leaves_nothing():
    size = 5 << 20
    call = Caller(memory_bytes=size)
    assert isinstance(call("store_model", 0, size, 0), WaitForTurn)
    assert call.bench.account.model_bytes == size
    call.bench.state.close()
    assert call.bench.account.model_bytes == 0


def test_tensors_are_for_those_that_are_granted_them():
    call = Caller()
    assert call("get_tensor", call.model(), *call.put(b"x"), OUT, 4) == -ErrorCode.DENIED
    call = Caller(reads_tensors=True)
    handle = call.model()

    class Tensors:
        def read(self, name, element_limit):
            values = np.arange(6, dtype=np.float32)
            return 6, values if element_limit >= 6 else None

    call.bench.state.models.get(handle).model.tensors = Tensors()
    assert call("get_tensor", handle, *call.put(b"x"), OUT, 5) == -ErrorCode.BUFFER
    assert call("last_size") == 6
    assert call("get_tensor", handle, *call.put(b"x"), OUT, 6) == 6
    assert np.frombuffer(call.out(24), "<f4").tolist() == [0, 1, 2, 3, 4, 5]
    assert call("get_tensor", handle, *call.put(b"x"), OUT, 1 << 20) == -ErrorCode.POINTER


@pytest.fixture
def masked():
    """A caller with a session, that remembers the masks the engine was given."""
    call = Caller(script=b"abcdef")
    call.masks = []
    sample = call.bench.engine.sample

    def remember(sequence, sampling, allowed=None, masks_after=None, *, more=0):
        call.masks.append(allowed)
        sample(sequence, sampling, allowed, masks_after, more=more)

    call.bench.engine.sample = remember
    call.open = call.session(1)
    call.draw = lambda: call.finish(call("session_sample", call.open, 0, OUT, 1))
    return call


def bitmap(*tokens: int) -> np.ndarray:
    mask = np.zeros(WORDS, "<u4")
    for token in tokens:
        mask[token // 32] |= np.uint32(1 << token % 32)
    return mask


def test_a_mask_holds_for_one_sample(masked):
    assert masked("session_mask", masked.open, *masked.put(bitmap(97).tobytes())[:1], WORDS) == 0
    masked.draw()
    masked.draw()
    assert masked.masks[0].tolist() == bitmap(97).tolist()
    assert masked.masks[1] is None
    masked("session_mask", masked.open, 0, WORDS)
    assert masked("session_mask", masked.open, 0, 0) == 0
    masked.draw()
    assert masked.masks[2] is None


def test_a_mask_that_does_not_fit_is_refused(masked):
    masked.put(b"\xff" * 4 * (WORDS + 1))
    for words in (WORDS - 1, WORDS + 1):
        assert masked("session_mask", masked.open, 0, words) == -ErrorCode.INVALID
    assert masked("session_mask", masked.open, 4090, WORDS) == -ErrorCode.POINTER
    masked.put(bytes(4 * WORDS))
    assert masked("session_mask", masked.open, 0, WORDS) == -ErrorCode.INVALID
    masked.put(np.r_[np.zeros(WORDS - 1, "<u4"), np.uint32(1 << 31)].astype("<u4").tobytes())
    assert masked("session_mask", masked.open, 0, WORDS) == -ErrorCode.INVALID, "no such token"


def test_a_constraint_narrows_from_where_it_was_set(masked):
    def constrain(kind: int, source: bytes) -> int:
        return masked("session_constrain", masked.open, kind, *masked.put(source))

    assert constrain(2, b"ab?c") == 0
    for _ in range(3):
        masked.draw()
    masks = [
        np.flatnonzero(np.unpackbits(m.view(np.uint8), bitorder="little")) for m in masked.masks
    ]
    assert [mask.tolist() for mask in masks] == [[97], [98, 99], [99]]
    assert masked("session_accept", masked.open, *masked.put_ids(120)) == -ErrorCode.INVALID
    assert masked("session_rewind", masked.open, 2) == 0
    masked.bench.engine.script = list(b"c")
    masked("session_mask", masked.open, *masked.put(bitmap(99, 100).tobytes())[:1], WORDS)
    masked.draw()
    assert masked.masks[-1].tolist() == bitmap(99).tolist(), "mask and constraint together"
    assert constrain(0, b"") == 0
    masked.draw()
    assert masked.masks[-1] is None
    assert constrain(2, b"a(") == -ErrorCode.CONSTRAINT
    assert constrain(1, b'{"type":"nothing"}') == -ErrorCode.CONSTRAINT
    assert constrain(3, b"start: x") == -ErrorCode.CONSTRAINT
    assert constrain(1, b'{"type":"boolean"}') == 0
    assert constrain(3, b'start: "a"') == 0
    assert constrain(4, b"a") == constrain(-1, b"a") == -ErrorCode.INVALID


def test_cache_pages_are_counted_over_the_tenants_sessions():
    pages = 4
    call = Caller(tenant_limits=TenantLimits(cache_bytes=pages * PAGE_BYTES))
    account = call.bench.account
    session = call.session(*range(PAGE_TOKENS + 1))
    assert account.cache_pages == 2
    copy = call("session_fork", session)
    assert account.cache_pages == 4
    assert call("session_fork", session) == -ErrorCode.CAPACITY
    assert len(call.bench.engine.sequences) == 2
    full = call.put_ids(*range(PAGE_TOKENS))
    assert call("session_prefill", copy, *full) == -ErrorCode.CAPACITY
    assert call("session_position", copy) == PAGE_TOKENS + 1
    assert call("session_rewind", session, PAGE_TOKENS) == 0
    assert account.cache_bytes == 3 * PAGE_BYTES
    assert call("session_prefill", copy, *full) == PAGE_TOKENS
    assert call("session_sample", session, 0, OUT, 1) == -ErrorCode.CAPACITY
    assert call("session_close", copy) == 0
    call.finish(call("session_sample", session, 0, OUT, 1))
    assert account.cache_pages == 2
    call.bench.state.close()
    assert account.cache_pages == account.cache_bytes == 0


def test_layers_and_whole_generations_count_their_pages_too():
    call = Caller(tenant_limits=TenantLimits(cache_bytes=2 * PAGE_BYTES))
    model = call.model()
    assert call("forward_layer", model, 0, 0, HIDDEN, PAGE_TOKENS, OUT) == HIDDEN
    assert call.bench.account.cache_pages == 2
    assert call("forward_layer", model, 0, 0, HIDDEN, 2 * PAGE_TOKENS, OUT) == -ErrorCode.CAPACITY
    assert call("host_generate", model, *call.put(b"x"), 0, OUT, 100) == -ErrorCode.CAPACITY
    call("remove_model", model)
    assert call.bench.account.cache_pages == 0
    model = call.model()
    wait = call("host_generate", model, *call.put(b"x"), 0, OUT, 100)
    assert call.bench.account.cache_pages == 1
    assert call.finish(wait) == 0
    assert call.bench.account.cache_pages == 0
    assert not call.bench.engine.sequences


def test_tokens_are_counted_over_the_request():
    call = Caller(script=b"abcdef", limits=GuestLimits(tokens=6))
    session = call.session(1, 2, 3)
    assert call("session_accept", session, *call.put_ids(4)) == 1
    assert call.finish(call("session_sample", session, 0, OUT, 1)) == 1
    assert call("session_prefill", session, *call.put_ids(5, 6)) == -ErrorCode.LIMIT
    assert call("session_position", session) == 5
    assert call.finish(call("session_sample", session, 0, OUT, 1)) == 1
    assert call("session_sample", session, 0, OUT, 1) == -ErrorCode.LIMIT
    assert call("host_generate", 1, *call.put(b"x"), 0, OUT, 100) == -ErrorCode.LIMIT


def test_rows_of_layers_are_parts_of_tokens():
    call = Caller(limits=GuestLimits(tokens=2))
    model = call.model()
    for _ in range(2):
        assert call("forward_layer", model, 0, 0, 2 * HIDDEN, 0, OUT) == 2 * HIDDEN
    assert call("forward_layer", model, 0, 0, 2 * HIDDEN, 0, OUT) == -ErrorCode.LIMIT
    assert call("forward_layer", model, 0, 0, HIDDEN, CONTEXT, OUT) == -ErrorCode.CONTEXT


def test_a_generation_without_room_is_not_generated_again():
    call = Caller(script=b"abcdefghij")
    model = call.model()
    answer = call("host_generate", model, *call.put(b"x"), 0, OUT, 4)
    while not isinstance(answer, int):
        answer = call.finish(answer)
    assert (answer, call("last_size")) == (-ErrorCode.BUFFER, 5)
    assert call("host_generate", model, *call.put(b"x"), 0, OUT, 5) == 5
    assert call.out(5) == b"abcde"
    assert len(call.bench.engine.script) == 5
