"""Long texts are worked through by workers while their guest is parked; short ones at once."""

from __future__ import annotations

import gc
import json
import struct

import pytest

from realm.errors import TokenizerError
from realm.runtime.contract import HOST_FUNCTIONS, ErrorCode
from realm.runtime.host_call import WaitForStep, WaitForWork
from realm.runtime.host_functions import HANDLERS, answer_call
from realm.runtime.workers import Work

from .fakes import make_bench

PLACES = {function.name: number for number, function in enumerate(HOST_FUNCTIONS)}
MEMORY = 1 << 18
OUT, OUT_IDS = 1 << 16, 40_000
LONG, SHORT = 20_000, 8 << 10


class HeldWorkers:
    """Does nothing before it is told to."""

    def __init__(self) -> None:
        self.works: list[Work] = []

    def submit(self, owner, action, on_done, discard=None, share=None):
        self.works.append(Work(owner, action, on_done, discard, share))
        return self.works[-1]


@pytest.fixture
def workers():
    return HeldWorkers()


@pytest.fixture
def bench(workers):
    return make_bench(memory_bytes=MEMORY, workers=workers)


def call(bench, name, *arguments):
    return answer_call(bench.state, HANDLERS[PLACES[name]], bench.state, *arguments)


def put(bench, data: bytes) -> tuple[int, int]:
    bench.guest.memory[: len(data)] = data
    return 0, len(data)


def model(bench) -> int:
    return call(bench, "realm_host_load_model_by_name", *put(bench, b"fake"))


def test_a_short_text_needs_no_worker(bench, workers):
    handle = model(bench)
    text = put(bench, b"a" * SHORT)
    assert call(bench, "realm_encode_tokens", handle, *text, OUT, OUT_IDS) == SHORT + 1
    assert not workers.works


@pytest.mark.parametrize("name", ["realm_encode_tokens", "realm_encode_text"])
def test_a_long_text_becomes_tokens_on_a_worker(bench, workers, name):
    handle = model(bench)
    flags = () if name == "realm_encode_tokens" else (1,)
    wait = call(bench, name, handle, *put(bench, b"a" * LONG), *flags, OUT, OUT_IDS)
    assert isinstance(wait, WaitForWork)
    assert isinstance(answer_call(bench.state, wait.retry), WaitForWork), "nothing is done yet"
    bench.guest.memory[:LONG] = bytes(LONG)  # what the guest does to its text is too late
    workers.works[0].run()
    assert answer_call(bench.state, wait.retry) == LONG + 1
    ids = struct.unpack(f"<{LONG + 1}I", bench.guest.memory[OUT : OUT + 4 * (LONG + 1)])
    assert ids == (256, *b"a" * LONG)


def test_a_long_text_that_does_not_fit_is_told_with_its_size(bench, workers):
    handle = model(bench)
    wait = call(bench, "realm_encode_tokens", handle, *put(bench, b"a" * LONG), OUT, 10)
    workers.works[0].run()
    assert answer_call(bench.state, wait.retry) == -ErrorCode.BUFFER
    assert call(bench, "realm_last_size") == LONG + 1


def test_an_error_of_a_worker_is_the_calls(bench, workers, monkeypatch):
    def refuse(*_, **__):
        raise TokenizerError("not this")

    handle = model(bench)
    monkeypatch.setattr(bench.state.models.get(handle).model, "encode", refuse)
    wait = call(bench, "realm_encode_tokens", handle, *put(bench, b"a" * LONG), OUT, OUT_IDS)
    workers.works[0].run()
    assert answer_call(bench.state, wait.retry) == -ErrorCode.TOKENIZER
    assert bench.state.last_error == "not this"


def test_a_long_conversation_is_rendered_on_a_worker(bench, workers):
    handle = model(bench)
    messages = json.dumps([{"role": "user", "content": "b" * LONG}]).encode()
    expected = bench.state.models.get(handle).model.render_chat(json.loads(messages)).encode()
    wait = call(bench, "realm_render_chat", handle, *put(bench, messages), OUT, 4 * OUT_IDS)
    assert isinstance(wait, WaitForWork)
    workers.works[0].run()
    assert answer_call(bench.state, wait.retry) == len(expected)
    assert bench.guest.memory[OUT : OUT + len(expected)] == expected
    broken = call(bench, "realm_render_chat", handle, *put(bench, b"[" * LONG), OUT, OUT_IDS)
    # What the collector ends in the depth of the brackets has no room on the stack.
    gc.disable()
    try:
        workers.works[1].run()
    finally:
        gc.enable()
    assert answer_call(bench.state, broken.retry) == -ErrorCode.JSON


def test_a_long_prompt_of_a_whole_generation_is_encoded_on_a_worker(workers):
    bench = make_bench(memory_bytes=MEMORY, workers=workers)
    handle = model(bench)
    wait = call(bench, "realm_host_generate", handle, *put(bench, b"c" * LONG), 0, OUT, 100)
    assert isinstance(wait, WaitForWork)
    workers.works[0].run()
    answer = answer_call(bench.state, wait.retry)
    assert isinstance(answer, WaitForStep) or answer == -ErrorCode.CONTEXT


def test_what_a_worker_did_is_charged_to_the_tenant(workers):
    bench = make_bench(memory_bytes=MEMORY, workers=workers)
    turns = bench.account.turns
    handle = model(bench)
    wait = call(bench, "realm_encode_tokens", handle, *put(bench, b"a" * LONG), OUT, OUT_IDS)
    hosted = bench.state.models.get(handle).model
    genuine = hosted.encode

    def slow(*arguments, **options):
        bench.clock[0] += 1.0
        return genuine(*arguments, **options)

    hosted.encode = slow
    workers.works[0].run()
    assert not turns.is_spent(bench.clock[0])
    answer_call(bench.state, wait.retry)
    assert turns.is_spent(bench.clock[0])
