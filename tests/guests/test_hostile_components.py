"""Hostile components: each ends in its typed error, gives its thread back, and hurts nobody."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from realm.errors import (
    CancelledError,
    GuestCompileError,
    GuestContractError,
    GuestError,
    GuestLimitError,
    GuestTrapError,
)
from realm.runtime.contract import ErrorCode
from realm.runtime.policy import Tool
from realm.runtime.program import GuestHost

from .component_stage import LIMITS, ComponentStage
from .components import component, read_results, script
from .modules import nested_loops, section

HEAD = b"\0asm\x0d\0\x01\0"
FOREVER = "(loop $again (br $again))"
ECHO = component("(call $send (local.get 0) (local.get 1))", imports=("send",))
STACK = "(func $down (param i32) (result i32) (i32.add (call $down (local.get 0)) (i32.const 1)))"
GROW = """(loop $again
    (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then (br $again))))
  (i32.store (i32.const 1024) (memory.size))
  (call $respond (i32.const 1024) (i32.const 4))"""
TOO_LONG = (1 << 20) + 1


@pytest.fixture
def stage() -> Iterator[ComponentStage]:
    stage = ComponentStage(b"abcdef")
    yield stage
    assert stage.make(ECHO).generate("still here").text
    stage.close()
    assert stage.alive == 0
    assert not stage.engine.sequences


def call(name: str, *arguments: int) -> str:
    """A component that makes one call with these core arguments, and returns its answer."""
    inside = " ".join(f"(i32.const {argument})" for argument in arguments)
    return component(f"(call ${name} {inside})", imports=(name,))


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (component(f"{FOREVER} (i32.const 0)"), GuestLimitError, "compute time"),
        (
            component(extra=f"(func $begin {FOREVER}) (start $begin)"),
            GuestLimitError,
            "compute time",
        ),
        (
            component(
                "(loop $again (drop (call $now-ms)) (br $again)) (i32.const 0)", imports=("now-ms",)
            ),
            GuestLimitError,
            "compute time",
        ),
        (component("(call $down (i32.const 0))", extra=STACK), GuestLimitError, "limit: stack"),
        (component(pages=1000), GuestLimitError, "memory"),
        (component(extra="(table 1000000 funcref)"), GuestLimitError, "table"),
        (component("(unreachable)"), GuestTrapError, "unreachable"),
        (
            component(extra="(func $begin (unreachable)) (start $begin)"),
            GuestTrapError,
            "unreachable",
        ),
        (
            component(
                "(drop (call $send (local.get 0) (local.get 1))) (unreachable)", imports=("send",)
            ),
            GuestTrapError,
            "unreachable",
        ),
        (component("(i32.div_u (i32.const 1) (i32.const 0))"), GuestTrapError, "divide by zero"),
        # Texts and lists outside of its memory, and texts that are none, never reach the host.
        (call("send", 0x7FFFFFF0, 100), GuestTrapError, "string pointer/length out of bounds"),
        (call("send", 4, -1), GuestTrapError, "string pointer/length out of bounds"),
        (call("state-put", 0, -1, 0, 4), GuestTrapError, "list pointer/length out of bounds"),
        (
            component(
                "(call $send (i32.const 4096) (i32.const 1))", imports=("send",), data=b"\xff"
            ),
            GuestTrapError,
            "invalid utf-8",
        ),
        # The result is to be written where no memory is.
        (
            component(
                "(call $random (i32.const 8) (i32.const -16)) (i32.const 0)", imports=("random",)
            ),
            GuestTrapError,
            "pointer out of bounds",
        ),
    ],
)
def test_it_ends_in_its_error(stage, source, error, message):
    with pytest.raises(error, match=message) as caught:
        stage.run(source)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([("encode", [1, "x" * TOO_LONG, 0]), ("last-code", [])], [None, ErrorCode.LIMIT]),
        ([("prefill", [1, b"\1\0\0"])], [-ErrorCode.POINTER]),
        ([("sample", [1, b"short"]), ("last-code", [])], [None, ErrorCode.POINTER]),
        ([("sample", [2, b""]), ("last-code", [])], [None, ErrorCode.HANDLE]),
        ([("sample", [-1, b""]), ("last-code", [])], [None, ErrorCode.HANDLE]),
        ([("prefill", [1, b"\xff\xff\xff\xff"])], [-ErrorCode.TOKENIZER]),
        ([("mask", [1, b"\1\0\0\0"])], [-ErrorCode.INVALID]),
        ([("log", [7, "x"])], [-ErrorCode.INVALID]),
        ([("state-put", [b"", b"x"])], [-ErrorCode.LIMIT]),
        ([("random", [-1]), ("last-code", [])], [None, ErrorCode.LIMIT]),
        ([("tool-call", ["none", b""]), ("last-code", [])], [None, ErrorCode.NOT_FOUND]),
        ([("fork", [9])], [-ErrorCode.HANDLE]),
    ],
)
def test_a_call_is_refused_and_the_program_goes_on(stage, calls, expected):
    calls = [("load-model", ["fake"]), ("open-session", [1]), *calls]
    result = stage.run(script(calls, pages=32))
    assert read_results(calls, result.response) == [1, 1, *expected]


def test_memory_grows_to_its_limit_and_no_further(stage):
    result = stage.run(component(GROW, imports=("respond",)), memory_bytes=1 << 20)
    assert int.from_bytes(result.response, "little") == (1 << 20) // (64 << 10)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "respond",
            "bytes in one host call",
        ),  # a list takes many times its size: not even looked at
        ("send", "more than 4194304 bytes of output"),
    ],
)
def test_a_flood_in_one_call_is_refused(name, message):
    stage = ComponentStage(limits=replace(LIMITS, memory_bytes=64 << 20))
    body = f"(call ${name} (i32.const 0) (i32.const {60 << 20}))"
    with pytest.raises(GuestLimitError, match=message):
        program = component(body, imports=(name,), pages=1024)
        stage.run(program, memory_bytes=64 << 20, compute_seconds=5)
    stage.close()
    assert stage.alive == 0


def test_wall_time_ends_a_component_that_waits_in_a_host_call(stage):
    release = threading.Event()
    tools = {"slow": Tool(lambda _: str(release.wait(60)), seconds=50)}
    calls = [("tool-call", ["slow", b""])]
    with pytest.raises(GuestLimitError, match="wall time"):
        stage.make(script(calls), {"tools": tools}, wall_seconds=0.3).generate("x")
    assert stage.alive == 0
    release.set()


def test_wall_time_runs_while_it_waits_for_a_thread(stage):
    busy = stage.make(component(f"{FOREVER} (i32.const 0)"), compute_seconds=1.5)
    late = stage.make(ECHO, wall_seconds=0.2)
    streams = [busy.stream("x") for _ in range(LIMITS.components)]
    with pytest.raises(GuestLimitError, match="wall time"):
        late.generate("y")
    for stream in streams:
        stream.close()


def test_a_cancelled_component_gives_its_thread_back(stage):
    tenant = stage.make(component(f"{FOREVER} (i32.const 0)"), compute_seconds=60)
    streams = [tenant.stream("x") for _ in range(6)]
    for stream in streams:
        stream.close()
    assert stage.alive == 0


def test_closing_ends_those_that_run_and_those_that_wait():
    stage = ComponentStage()
    tenant = stage.make(component(f"{FOREVER} (i32.const 0)"), compute_seconds=60)
    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(tenant.generate, "x") for _ in range(6)]
        with stage.host.component_tier()._changed:
            stage.host.component_tier()._changed.wait(0.2)
        stage.close()
        for future in futures:
            with pytest.raises((CancelledError, GuestError)):
                future.result()
    assert stage.alive == 0


def test_ten_hostile_ones_beside_an_honest_one(stage):
    bad = [
        component(f"{FOREVER} (i32.const 0)"),
        component("(unreachable)"),
        component("(call $down (i32.const 0))", extra=STACK),
        component(pages=1000),
        component("(i32.const -5)"),
    ]
    honest = stage.make(script([("load-model", ["fake"]), ("encode", [1, "hi", 0])]))
    alone = honest.generate("x").response
    tenants = [stage.make(source, compute_seconds=0.05) for source in bad for _ in range(2)]
    with ThreadPoolExecutor(14) as pool:
        failing = [pool.submit(tenant.generate, "x") for tenant in tenants]
        fine = [pool.submit(honest.generate, "x") for _ in range(20)]
        assert {future.result().response for future in fine} == {alone}
        for future in failing:
            with pytest.raises(GuestError):
                future.result()


def test_errors_stay_with_their_own(stage):
    tenants = [
        (
            stage.make(
                script([("load-model", [f"model {number}"]), ("last-error", [])]), compute_seconds=5
            ),
            number,
        )
        for number in range(8)
    ]

    def ask(place):
        tenant, number = tenants[place % len(tenants)]
        return f"'model {number}'".encode() in tenant.generate("x").response

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(200)))


@pytest.mark.parametrize(
    ("rest", "error"),
    [
        (b"", GuestContractError),
        (b"\xff" * 100, GuestCompileError),
        (b"\0" * 40, GuestCompileError),
    ],
)
def test_what_only_begins_like_a_component_is_refused(stage, rest, error):
    with pytest.raises(error):
        stage.host.compile(HEAD + rest)


def test_a_component_that_compiles_slowly_is_refused():
    stage = ComponentStage(limits=replace(LIMITS, component_compile_seconds=1.0))
    core_module = section(1, nested_loops(30_000))
    with pytest.raises(GuestLimitError, match="more than 1 seconds to compile"):
        stage.host.compile(HEAD + core_module)
    assert stage.run(ECHO).text
    stage.close()


def test_a_component_larger_than_its_limit_is_not_looked_at():
    host = GuestHost(replace(LIMITS, component_bytes=100))
    with pytest.raises(GuestLimitError, match="100 are allowed"):
        host.compile(HEAD + b"\0" * 100)
    assert host.component_tier()._compiler is None


def test_the_interpreter_ends_while_components_run_and_wait():
    """Nothing of a component may be on a thread when the interpreter goes."""
    text = """
import sys, threading
from realm.runtime.policy import Tool
from tests.guests.component_stage import ComponentStage
from tests.guests.components import component, script

stage = ComponentStage()
busy = stage.make(component("(loop $again (br $again)) (i32.const 0)"), compute_seconds=600)
called = threading.Event()
tools = {"slow": Tool(lambda _: str(called.set() or threading.Event().wait(60)), seconds=50)}
parked = stage.make(script([("tool-call", ["slow", b""])]), {"tools": tools})
streams = [busy.stream("x"), parked.stream("x")]
assert called.wait(30)
sys.exit(7)
"""
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", text], cwd=root, capture_output=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (7, b"")
