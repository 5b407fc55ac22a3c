"""State and tools by their contract: what is kept, who may call, what is told of failures."""

from __future__ import annotations

import threading

import pytest

from realm.errors import StateStoreError, ToolError
from realm.runtime.contract import ErrorCode
from realm.runtime.host_call import WaitForWork
from realm.runtime.host_functions import answer_call
from realm.runtime.limits import GuestLimits, TenantLimits
from realm.runtime.policy import Tool
from realm.runtime.state_store import FileStateStore
from realm.runtime.workers import Workers

from .test_host_functions import OUT, Caller


def put_pair(call, first: bytes, second: bytes) -> tuple[int, int, int, int]:
    return *call.put(first), *call.put(second, at=512)


def test_state_is_put_and_got_and_removed():
    call = Caller()
    assert call("state_put", *put_pair(call, b"key", b"value")) == 5
    assert call("state_get", *call.put(b"key"), OUT, 3) == -ErrorCode.BUFFER
    assert call("last_size") == 5
    assert call("state_get", *call.put(b"key"), OUT, 5) == 5
    assert call.out(5) == b"value"
    assert call("state_put", *put_pair(call, b"key", b"")) == 0
    assert call("state_get", *call.put(b"key"), OUT, 5) == -ErrorCode.NOT_FOUND


def test_state_is_bounded():
    call = Caller(tenant_limits=TenantLimits(state_entries=2, state_bytes=8, state_key_bytes=4))
    assert call("state_put", *put_pair(call, b"a", b"123")) == 3
    assert call("state_put", *put_pair(call, b"b", b"1234")) == -ErrorCode.LIMIT
    assert call("state_put", *put_pair(call, b"b", b"123456789")) == -ErrorCode.LIMIT
    assert call("state_put", *put_pair(call, b"b", b"1")) == 1
    assert call("state_put", *put_pair(call, b"c", b"1")) == -ErrorCode.LIMIT
    for name in (b"", b"12345"):
        assert call("state_put", *put_pair(call, name, b"1")) == -ErrorCode.LIMIT
        assert call("state_get", *call.put(name), OUT, 9) == -ErrorCode.LIMIT


def test_a_store_on_disk_parks_the_guest(tmp_path):
    store, workers = FileStateStore(tmp_path / "state"), Workers("test", 1, 1)
    call = Caller(state=store, workers=workers)
    woken = threading.Event()
    object.__setattr__(call.bench.state.surroundings, "wake", woken.set)
    answer = call("state_put", *put_pair(call, b"key", b"value"))
    assert isinstance(answer, WaitForWork)
    assert woken.wait(10)
    assert answer_call(call.bench.state, answer.retry) == 5
    assert store.get("tenant", b"key") == b"value"
    store.close()
    woken.clear()
    answer = call("state_get", *call.put(b"key"), OUT, 9)
    assert woken.wait(10)
    assert answer_call(call.bench.state, answer.retry) == -ErrorCode.STATE
    assert isinstance(call.bench.state.last_exception, StateStoreError)
    workers.close()


def tools(**functions) -> dict[str, Tool]:
    return {name: Tool(function) for name, function in functions.items()}


def call_tool(call, name: bytes, arguments: bytes = b"", room: int = 100):
    return call("tool_call", *put_pair(call, name, arguments), OUT, room)


def test_a_tool_on_the_list_answers_with_bytes_or_text():
    call = Caller(tools=tools(double=lambda data: data * 2, text=lambda data: "ü"))
    assert call_tool(call, b"double", b"ab") == 4
    assert call.out(4) == b"abab"
    assert call_tool(call, b"text") == 2
    assert call.out(2) == "ü".encode()
    assert call_tool(call, b"other") == -ErrorCode.NOT_FOUND
    assert call_tool(Caller(), b"double") == -ErrorCode.NOT_FOUND


def test_a_result_without_room_is_kept_for_the_same_call():
    runs = []
    call = Caller(
        tools=tools(count=lambda data: str(len(runs)) * 10 if runs.append(data) else "12")
    )
    assert call_tool(call, b"count", b"x", room=1) == -ErrorCode.BUFFER
    assert call("last_size") == 2
    assert call_tool(call, b"count", b"x", room=2) == 2
    assert runs == [b"x"]
    call_tool(call, b"count", b"x", room=1)
    assert call_tool(call, b"count", b"other", room=2) == 2
    assert runs == [b"x", b"x", b"other"]
    assert call_tool(call, b"count", b"x", room=2) == 2
    assert len(runs) == 4, "what was kept went with the next call"


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda _: 1 // 0, b"tool 'it' failed"),
        (lambda _: 5, b"tool 'it' failed"),
        (lambda _: b"123456", b"tool 'it' gave more than 5 bytes"),
    ],
)
def test_a_tool_that_fails_is_a_code_and_its_words_stay_here(function, words, caplog):
    call = Caller(tools={"it": Tool(function, result_bytes=5)})
    assert call_tool(call, b"it") == -ErrorCode.TOOL
    assert call("last_error", OUT, 100) == len(words)
    assert call.out(len(words)) == words


def test_a_tool_may_speak_to_the_program():
    def refuse(_):
        raise ToolError("the city is not known" + "!" * 5000)

    call = Caller(tools=tools(weather=refuse))
    assert call_tool(call, b"weather") == -ErrorCode.TOOL
    assert call("last_error", OUT, 2000) == 1000
    assert call.out(21) == b"the city is not known"


def test_arguments_are_bounded():
    call = Caller(limits=GuestLimits(text_bytes=8), tools=tools(echo=lambda data: data))
    assert call_tool(call, b"echo", b"12345678") == 8
    assert call_tool(call, b"echo", b"123456789") == -ErrorCode.LIMIT


def test_nobody_waits_for_a_tool_beyond_its_time():
    gate, workers = threading.Event(), Workers("test", 2, 2)
    call = Caller(tools={"slow": Tool(lambda _: gate.wait(10) and b"late", seconds=2.0)})
    object.__setattr__(call.bench.state.surroundings.services, "tool_workers", workers)
    wait = call_tool(call, b"slow")
    assert isinstance(wait, WaitForWork)
    assert wait.deadline == 2.0
    call.bench.clock[0] = 1.9
    assert isinstance(answer_call(call.bench.state, wait.retry), WaitForWork)
    call.bench.clock[0] = 2.0
    assert answer_call(call.bench.state, wait.retry) == -ErrorCode.TIME
    gate.set()
    workers.close()
    assert call.out(4) == bytes(4)
