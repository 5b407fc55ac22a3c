"""Programs of strangers are compiled in another process, within limits, and do not hurt ours."""

from __future__ import annotations

import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from realm.errors import GuestCompileError, GuestContractError, GuestError, GuestLimitError
from realm.runtime.program import GuestHost

from .conftest import SMALL
from .modules import many_functions, nested_loops

SLOW = nested_loops(30_000)
HUGE = many_functions(4000, additions=100)
HONEST = many_functions(1)


def refused_for_its_exports(host):
    """It was compiled: only then is it compared with the contract."""
    with pytest.raises(GuestContractError, match="export memory: missing"):
        host.compile(HONEST)


def test_a_program_that_compiles_slowly_is_refused():
    host = GuestHost(replace(SMALL, compile_seconds=1))
    with pytest.raises(GuestLimitError, match="more than 1 seconds to compile"):
        host.compile(SLOW)
    refused_for_its_exports(host)


def test_a_program_that_compiles_hugely_is_refused():
    host = GuestHost(replace(SMALL, compile_memory_bytes=20 << 20))
    with pytest.raises(GuestLimitError, match="20971520 bytes of memory to compile"):
        host.compile(HUGE)
    refused_for_its_exports(host)


def test_a_large_program_within_the_limits_is_compiled():
    host = GuestHost(SMALL)
    with pytest.raises(GuestContractError, match="export memory: missing"):
        host.compile(many_functions(1000))


def test_what_is_no_module_is_refused_and_the_worker_stays(host):
    refused_for_its_exports(host)
    (worker,) = host._compiler._idle
    for wasm in (b"", b"\0asm", b"\0asm\1\0\0\0\xff", b"not wasm at all", SLOW[:1000]):
        with pytest.raises(GuestCompileError):
            host.compile(wasm)
    assert host._compiler._idle == [worker]


@pytest.mark.parametrize("end", ["idle", "killed"])
def test_a_worker_that_went_away_is_replaced(end):
    host = GuestHost(SMALL)
    refused_for_its_exports(host)
    (worker,) = host._compiler._idle
    if end == "idle":
        worker._process.stdin.close()
        worker._process.wait()
    else:
        os.kill(worker._process.pid, signal.SIGKILL)
        worker._process.wait()
    host._refused.clear()  # or nobody would be asked about the same module again
    refused_for_its_exports(host)
    assert host._compiler._idle != [worker]


def test_many_at_once_wait_for_their_turn():
    host = GuestHost(SMALL)
    modules = [many_functions(1, additions=count) for count in range(1, 17)]
    with ThreadPoolExecutor(8) as pool:
        programs = list(pool.map(host.inspect, modules))
    assert len(programs) == 16
    assert 1 <= len(host._compiler._idle) <= SMALL.compile_workers


def test_the_workers_end_with_their_host():
    host = GuestHost(SMALL)
    refused_for_its_exports(host)
    (worker,) = host._compiler._idle
    del host
    assert worker._process.returncode is not None


def test_equal_programs_are_one(host, example_program):
    wasm = example_program("layers")
    first = host.compile(wasm)
    assert host.compile(bytes(bytearray(wasm))) is first


def test_a_program_larger_than_its_limit_is_not_looked_at():
    host = GuestHost(replace(SMALL, program_bytes=1000))
    with pytest.raises(GuestLimitError, match="1000 are allowed"):
        host.compile(SLOW)
    assert host._compiler is None


def test_a_compiler_that_cannot_be_started_says_nothing_of_the_program(monkeypatch):
    host = GuestHost(SMALL)
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/nowhere/python")
        for _ in range(SMALL.compile_workers + 1):
            with pytest.raises(GuestError, match="cannot be started") as caught:
                host.compile(HONEST)
            assert caught.type is GuestError
    host._compiler = None
    refused_for_its_exports(host)
