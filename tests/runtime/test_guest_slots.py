"""What one tenant may hold of what all guests share: slots, memory, the thread, the compiler."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from realm.errors import GuestCompileError, GuestLimitError
from realm.runtime.limits import GuestLimits, HostLimits, TenantLimits
from realm.runtime.policy import TenantPolicy, Tool
from realm.runtime.program import GuestHost, default_program
from realm.runtime.tenant_record import TenantRecord

from .wat import guest

PAGE = 64 << 10
LIMITS = GuestLimits(memory_bytes=16 * PAGE, compute_seconds=1.0)
# Grows by ten pages, then waits for a tool.
GROWS = guest(
    """(if (i32.eq (memory.grow (i32.const 10)) (i32.const -1)) (then unreachable))
    (i32.store (i32.const 0) (i32.const 0x74696177))
    (drop (call $realm_tool_call (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 0)
      (i32.const 64) (i32.const 8)))
    (i32.const 0)""",
    imports=("realm_tool_call",),
)


class Gate:
    """A tool that does not answer before it may."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.inside = threading.Semaphore(0)

    def __call__(self, _: bytes) -> bytes:
        self.inside.release()
        self.open.wait(60)
        return b""


@pytest.fixture
def gate():
    made = Gate()
    yield made
    made.open.set()


def test_by_default_no_tenant_can_hold_every_slot():
    assert TenantLimits().requests * 4 <= HostLimits().guest_count
    assert TenantLimits().memory_bytes * 4 <= HostLimits().all_memory_bytes


def test_a_tenants_guests_share_its_memory(open_stage, compile_wat, gate, default_guest):
    stage = open_stage(None)
    tenant = stage.tenant(compile_wat(GROWS), LIMITS, "hungry", tools={"wait": Tool(gate)})
    tenant._tenant.account.limits = TenantLimits(memory_bytes=20 * PAGE)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(tenant.generate, "x")
        assert gate.inside.acquire(timeout=60)
        assert tenant._tenant.account.memory_bytes >= 11 * PAGE
        with pytest.raises(GuestLimitError, match="its tenant's programs have more than 1310720"):
            tenant.generate("x")
        assert stage.tenant(default_guest, LIMITS, "other").generate("hi").text == "hi"
        gate.open.set()
        first.result()
    assert tenant._tenant.account.memory_bytes == 0


def test_requests_wait_while_all_guests_have_as_much_as_there_is(
    open_stage, compile_wat, gate, default_guest
):
    stage = open_stage(None)
    stage.loop._memory_limit = 10 * PAGE
    tenant = stage.tenant(compile_wat(GROWS), LIMITS, "hungry", tools={"wait": Tool(gate)})
    other = stage.tenant(default_guest, LIMITS, "other")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(tenant.generate, "x")
        assert gate.inside.acquire(timeout=60)
        second = pool.submit(other.generate, "hi")
        looked = threading.Event()
        while not other._tenant.account.queued_requests:
            stage.loop.call(looked.set)
            assert looked.wait(60)
            looked.clear()
        assert other._tenant.account.live_guests == 0
        gate.open.set()
        first.result()
        assert second.result().text == "hi"


def test_layers_are_charged_to_those_who_asked(open_stage, compile_wat):
    body = """
      (i32.store (i32.const 0) (i32.const 0x656b6166))
      (drop (call $realm_host_load_model_by_name (i32.const 0) (i32.const 4)))
      (call $realm_forward_layer (i32.const 1) (i32.const 0) (i32.const 256) (i32.const 8)
        (i32.const 0) (i32.const 256))"""
    names = ("realm_host_load_model_by_name", "realm_forward_layer")
    stage = open_stage(None)
    clock = [0.0]
    stage.now = stage.loop._now = lambda: clock[0]
    genuine = stage.engine.forward_layers

    def slow(calls):
        clock[0] += 1.0
        return genuine(calls)

    stage.engine.forward_layers = slow
    tenant = stage.tenant(compile_wat(guest(body, imports=names)), LIMITS)
    tenant.generate("x")
    assert tenant._tenant.account.turns.is_spent(clock[0])


def test_a_tenant_compiles_one_program_at_a_time(default_guest):
    inside = threading.Lock()
    together = []

    def compile_program(wasm):
        together.append(not inside.acquire(blocking=False))
        for _ in range(10_000):
            pass
        inside.release()
        return default_guest

    record = TenantRecord("tenant", TenantPolicy(), compile_program, 0.0)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: record.set_policy(TenantPolicy(program=bytes([n]))), range(64)))
    assert not any(together)


def test_a_refused_program_is_remembered_for_a_while(monkeypatch):
    clock = [0.0]
    host = GuestHost(HostLimits(guest_count=1, memory_bytes=PAGE), now=lambda: clock[0])
    looked_at = []

    def load(name, wasm):
        looked_at.append(wasm)
        raise GuestCompileError(f"no module: {wasm!r}")

    monkeypatch.setattr(host, "_load", load)
    errors = []
    for wasm in (b"a", b"a", b"b", b"a"):
        with pytest.raises(GuestCompileError) as caught:
            host.compile(wasm)
        errors.append(caught.value)
    assert looked_at == [b"a", b"b"]
    assert [str(error) for error in errors[:2]] == ["no module: b'a'"] * 2
    assert errors[0] is not errors[1], "each caller gets an error of its own"
    clock[0] = 61.0
    with pytest.raises(GuestCompileError):
        host.compile(b"a")
    assert looked_at == [b"a", b"b", b"a"]
    for number in range(300):
        with pytest.raises(GuestCompileError):
            host.compile(number.to_bytes(2, "little"))
    assert len(host._refused) == 256


def test_a_program_that_is_fine_is_not_refused_for_another_that_was_not():
    host = GuestHost(HostLimits(guest_count=1, memory_bytes=1 << 20))
    with pytest.raises(GuestCompileError):
        host.compile(b"nonsense")
    assert host.compile(default_program()) is host.compile(default_program())


def test_a_compiler_that_was_late_is_asked_again(monkeypatch):
    host = GuestHost(HostLimits(guest_count=1, memory_bytes=PAGE), now=lambda: 0.0)
    looked_at = []

    def load(name, wasm):
        looked_at.append(wasm)
        raise GuestLimitError("the program takes long to compile") from TimeoutError()

    monkeypatch.setattr(host, "_load", load)
    for _ in range(2):
        with pytest.raises(GuestLimitError):
            host.compile(b"a")
    assert looked_at == [b"a", b"a"]
