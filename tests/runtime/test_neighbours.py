"""Whatever one guest does, its own caller learns of it, and the others answer as ever."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from realm.errors import (
    CapacityError,
    GuestContractError,
    GuestError,
    GuestLimitError,
    GuestTrapError,
    NativeError,
    RequestError,
)
from realm.runtime.limits import GuestLimits

from .wat import FOREVER, guest

LIMITS = GuestLimits(memory_bytes=1 << 20, compute_seconds=0.05)
TEXT = "an honest answer, every time"
LOG = "realm_log"
GROW = "(memory.grow (i32.const 1))"
SPAM = f"(loop $again (drop (call ${LOG} (i32.const 9) (i32.const 0) (i32.const 0))) (br $again))"

HOSTILE = {
    "loops in its handler": (guest(f"{FOREVER} (i32.const 0)"), GuestLimitError, "compute time"),
    "loops in its start": (guest(start=FOREVER), GuestLimitError, "compute time"),
    "loops in host calls": (
        guest(f"{SPAM} (i32.const 0)", imports=(LOG,)),
        GuestLimitError,
        "time",
    ),
    "recurses": (guest("(call $handle (local.get 0) (local.get 1))"), GuestLimitError, "stack"),
    "traps": (guest("unreachable"), GuestTrapError, "unreachable"),
    "reads outside": (guest("(i32.load (i32.const -4))"), GuestTrapError, "out of bounds"),
    "speaks another version": (guest(version="(i32.const 2)"), GuestContractError, "version 2"),
    "allocates outside": (guest(alloc="(i32.const -1)"), GuestContractError, "realm_alloc"),
    "allocates nothing": (guest(alloc="(i32.const 0)"), GuestLimitError, "realm_alloc"),
    "returns an error": (guest("(i32.const -4)"), GuestError, "REALM_E_HANDLE"),
    "returns nonsense": (guest("(i32.const -99)"), GuestError, "no code of the contract"),
    "reaches a limit of its calls": (
        guest(f"(call ${LOG} (i32.const 1) (i32.const 0) (i32.const 65536))", imports=(LOG,)),
        GuestLimitError,
        "bytes of log",
    ),
    "bombs memory": (
        guest(f"(loop $l (br_if $l (i32.ne {GROW} (i32.const -1)))) unreachable"),
        GuestTrapError,
        "unreachable",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_guest_ends_alone(open_stage, compile_wat, default_guest, name):
    source, error, words = HOSTILE[name]
    stage = open_stage(None)
    limits = replace(LIMITS, wall_seconds=0.2) if name == "loops in host calls" else LIMITS
    hostile = stage.tenant(compile_wat(source), limits, "hostile")
    honest = stage.tenant(default_guest, LIMITS, "honest")
    with ThreadPoolExecutor(8) as pool:
        attacks = [pool.submit(hostile.generate, "x") for _ in range(4)]
        answers = [pool.submit(honest.generate, TEXT) for _ in range(8)]
        assert [answer.result().text for answer in answers] == [TEXT] * 8
        for attack in attacks:
            with pytest.raises(error, match=words) as caught:
                attack.result()
            assert type(caught.value) is error
    assert not stage.engine.sequences


def test_a_guest_that_ends_with_open_handles_leaves_nothing(open_stage, compile_wat):
    stage = open_stage(None)
    body = """
      (i32.store (i32.const 0) (i32.const 0x656b6166))
      (drop (call $realm_host_load_model_by_name (i32.const 0) (i32.const 4)))
      (drop (call $realm_session_open (i32.const 1)))
      (drop (call $realm_session_fork (i32.const 1)))
      (i32.const 0)"""
    names = ("realm_host_load_model_by_name", "realm_session_open", "realm_session_fork")
    result = stage.tenant(compile_wat(guest(body, imports=names)), LIMITS).generate("x")
    assert (result.text, result.token_ids, result.finish_reason) == ("", (), "stop")
    assert result.response is None
    assert not stage.engine.sequences


def test_an_error_of_the_engine_reaches_its_request_only(speak):
    tenant = speak(b"abc")
    engine = tenant.stage.engine
    engine.answer_error = CapacityError("no pages")
    for direct in (False, True):
        with pytest.raises(CapacityError, match="no pages"):
            tenant.generate("x", direct=direct)
    engine.answer_error = None
    assert tenant.generate("x").text == "abc"
    assert not engine.sequences


@pytest.mark.parametrize("fault", [NativeError("broken"), ZeroDivisionError("broken")])
def test_a_step_that_fails_ends_its_requests_not_the_loop(speak, fault):
    tenant = speak(b"abc")
    tenant.stage.engine.fail_step = fault
    expected = NativeError if isinstance(fault, NativeError) else RequestError
    for direct in (False, True):
        with pytest.raises(expected, match="broken"):
            tenant.generate("x", direct=direct)
    tenant.stage.engine.fail_step = None
    assert tenant.generate("x").text == "abc"
    assert not tenant.stage.engine.sequences


def test_a_request_that_cannot_start_is_told(speak):
    tenant = speak(b"abc")
    tenant.stage.engine.open = lambda *_, **__: 1 // 0
    with pytest.raises(RequestError, match="ZeroDivisionError"):
        tenant.generate("x", direct=True)
    with pytest.raises(GuestError, match="REALM_E_INTERNAL"):
        tenant.generate("x")


def test_a_guest_that_waits_too_long_reaches_its_wall_time(open_stage, default_guest):
    ticks = iter(range(10**9))
    lock = threading.Lock()

    def now() -> float:
        with lock:
            return next(ticks) * 0.01

    stage = open_stage(None, now=now)
    stage.engine.step = lambda: []
    tenant = stage.tenant(default_guest, replace(LIMITS, wall_seconds=5.0))
    with pytest.raises(GuestLimitError, match="wall time"):
        tenant.generate("x")
    assert not stage.engine.sequences


def test_more_requests_than_slots_wait_for_their_turn(open_stage, default_guest):
    stage = open_stage(None, active_limit=2)
    tenant = stage.tenant(default_guest, LIMITS)
    texts = [f"request {number}" for number in range(12)]
    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(tenant.generate, texts))
    assert [result.text for result in results] == texts
    assert [result.prompt_token_ids for result in results] == [(256, *t.encode()) for t in texts]


def test_tenants_speak_at_once_without_hearing_each_other(open_stage, default_guest):
    stage = open_stage(None)
    tenants = [stage.tenant(default_guest, LIMITS, f"tenant-{number}") for number in range(4)]
    jobs = [(tenant, f"{tenant.tenant_id} says {n}") for n in range(10) for tenant in tenants]
    with ThreadPoolExecutor(16) as pool:
        texts = list(pool.map(lambda job: job[0].generate(job[1]).text, jobs))
    assert texts == [text for _, text in jobs]
