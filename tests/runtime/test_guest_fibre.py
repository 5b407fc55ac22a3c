"""The native layer alone: a guest parks, is answered, ends; its limits hold; misuse is refused."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from realm.errors import (
    GuestCompileError,
    GuestContractError,
    GuestLimitError,
    NativeError,
)
from realm.runtime import _guest
from realm.runtime.contract import HOST_FUNCTIONS
from realm.runtime.limits import HostLimits
from realm.runtime.program import GuestHost

from .wat import FOREVER, guest, wide_guest

ZEROS = "(v128.const i64x2 0 0)"
REQUEST = b'{"prompt":"x"}'
LOG = "realm_log"
NUMBERS = {function.name: number for number, function in enumerate(HOST_FUNCTIONS)}


def poll_to_end(started: _guest.Guest) -> tuple[int, object, int]:
    """The last outcome, its payload, and how often the guest yielded before."""
    yields = 0
    while True:
        outcome, payload = started.poll()
        if outcome != _guest.YIELDED:
            return outcome, payload, yields
        yields += 1


def test_a_call_parks_the_guest_until_it_is_answered(compile_wat, limits):
    body = f"(i32.add (i32.const 1) (call ${LOG} (i32.const -7) (local.get 0) (local.get 1)))"
    started = compile_wat(guest(body, imports=(LOG,))).start(REQUEST, limits)
    outcome, (number, arguments) = started.poll()
    assert outcome == _guest.PARKED
    assert number == NUMBERS[LOG]
    assert arguments == (-7, 1024, len(REQUEST))
    assert started.read(1024, len(REQUEST)) == REQUEST
    started.resume(41)
    assert started.poll() == (_guest.FINISHED, 42)


def test_pointers_are_unsigned_and_numbers_signed(compile_wat, limits):
    body = f"(call ${LOG} (i32.const -1) (i32.const -1) (i32.const -2))"
    started = compile_wat(guest(body, imports=(LOG,))).start(REQUEST, limits)
    assert started.poll()[1][1] == (-1, 2**32 - 1, 2**32 - 2)


def test_a_wasm64_guest_passes_wide_pointers(compile_wat, limits):
    body = f"(call ${LOG} (i32.const 3) (local.get 0) (i64.const -1))"
    started = compile_wat(wide_guest(body, imports=(LOG,))).start(REQUEST, limits)
    assert started.poll()[1][1] == (3, 1024, 2**64 - 1)
    started.resume(5)
    assert started.poll() == (_guest.FINISHED, 5)


def test_a_start_function_may_call_the_host(compile_wat, limits):
    call = f"(drop (call ${LOG} (i32.const 1) (i32.const 0) (i32.const 4)))"
    started = compile_wat(guest(start=call, imports=(LOG,))).start(REQUEST, limits)
    assert started.poll()[0] == _guest.PARKED
    assert started.read(0, 4) == bytes(4)
    started.resume(0)
    assert started.poll() == (_guest.FINISHED, 0)


def test_memory_is_read_and_written_inside_its_bounds_only(compile_wat, limits):
    body = f"(call ${LOG} (i32.const 0) (i32.const 0) (i32.const 0))"
    started = compile_wat(guest(body, imports=(LOG,))).start(REQUEST, limits)
    started.poll()
    size = 2 << 16
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    started.write(size - 24, rows)
    assert started.read(size - 24, 24) == rows.tobytes()
    assert started.contains(size, 0)
    assert started.contains(0, size)
    for pointer, length in [(size - 23, 24), (size + 1, 0), (2**64 - 1, 1), (1, 2**64 - 1)]:
        assert not started.contains(pointer, length)
        with pytest.raises(NativeError):
            started.read(pointer, length)
    with pytest.raises(NativeError):
        started.write(size - 23, rows)
    with pytest.raises(ValueError, match="contiguous"):
        started.write(0, rows.T)


def test_memory_that_grew_is_seen_with_its_new_size(compile_wat, limits):
    call = f"(call ${LOG} (i32.const 0) (i32.const 0) (i32.const 0))"
    body = f"(drop {call}) (drop (memory.grow (i32.const 3))) {call}"
    started = compile_wat(guest(body, imports=(LOG,))).start(REQUEST, limits)
    started.poll()
    assert not started.contains(2 << 16, 1)
    started.resume(0)
    assert not started.contains(0, 1), "an answered guest's memory is its own again"
    started.poll()
    assert started.contains(0, 5 << 16)


@pytest.mark.parametrize("place", ["start", "handle", "alloc", "version"])
def test_endless_computing_yields_and_ends_at_the_limit(compile_wat, limits, place):
    body = FOREVER if place == "start" else f"{FOREVER} (i32.const 0)"
    started = compile_wat(guest(**{place: body})).start(REQUEST, limits)
    outcome, message, yields = poll_to_end(started)
    assert (outcome, message) == (_guest.LIMIT, "compute time")
    assert yields > 3
    assert 0.04 < started.compute_seconds < 0.5


def test_wall_time_ends_a_guest_that_computes(compile_wat, limits):
    program = compile_wat(guest(f"{FOREVER} (i32.const 0)"))
    started = program.start(REQUEST, replace(limits, compute_seconds=1e6, wall_seconds=0.02))
    assert poll_to_end(started)[:2] == (_guest.LIMIT, "wall time")


def test_time_spent_parked_is_not_the_guests_own(compile_wat, limits):
    """After any number of ticks in a host call, the guest goes on without yielding first."""
    program = compile_wat(
        guest(f"(call ${LOG} (i32.const 0) (i32.const 0) (i32.const 0))", imports=(LOG,))
    )
    parked = program.start(REQUEST, limits)
    parked.poll()
    busy = compile_wat(guest(f"{FOREVER} (i32.const 0)")).start(REQUEST, limits)
    assert poll_to_end(busy)[2] > 3, "the clock has gone on"
    parked.resume(0)
    assert parked.poll() == (_guest.FINISHED, 0)


def test_memory_cannot_grow_past_its_limit(compile_wat, limits):
    grow = "(drop (memory.grow (i32.const {}))) (memory.size)"
    limited = replace(limits, memory_bytes=4 << 16)
    inside = compile_wat(guest(grow.format(2))).start(REQUEST, limited)
    outside = compile_wat(guest(grow.format(3))).start(REQUEST, limited)
    assert inside.poll() == (_guest.FINISHED, 4)
    assert outside.poll() == (_guest.FINISHED, 2)


def test_a_memory_bomb_ends_alone(compile_wat, limits):
    grow = "(i32.ne (memory.grow (i32.const 1)) (i32.const -1))"
    bomb = f"(loop $again (br_if $again {grow})) unreachable"
    outcome, message, _ = poll_to_end(compile_wat(guest(bomb)).start(REQUEST, limits))
    assert outcome == _guest.TRAPPED
    assert "unreachable" in message


def test_initial_memory_beyond_the_guests_own_limit(compile_wat, limits):
    started = compile_wat(guest()).start(REQUEST, replace(limits, memory_bytes=1 << 16))
    outcome, message, _ = poll_to_end(started)
    assert outcome == _guest.LIMIT
    assert "memory" in message


def test_tables_cannot_grow_past_their_limit(compile_wat, limits):
    body = "(table.grow $t (ref.null func) (i32.const 1000000))"
    started = compile_wat(guest(body, extra="(table $t 1 funcref)")).start(REQUEST, limits)
    assert started.poll() == (_guest.FINISHED, -1)


def test_endless_recursion_ends_at_the_stack_limit(compile_wat, limits):
    started = compile_wat(guest("(call $handle (local.get 0) (local.get 1))")).start(
        REQUEST, limits
    )
    assert started.poll() == (_guest.LIMIT, "stack")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("unreachable", "unreachable"),
        ("(i32.div_s (i32.const 1) (i32.const 0))", "divide by zero"),
        ("(i32.load (i32.const -4))", "out of bounds memory"),
        ("(i32.load (i32.const 131069))", "out of bounds memory"),
        ("(i32.trunc_f32_s (f32.const nan))", "conversion to integer"),
    ],
)
def test_a_trap_is_told_in_words(compile_wat, limits, body, words):
    outcome, message, _ = poll_to_end(compile_wat(guest(body)).start(REQUEST, limits))
    assert outcome == _guest.TRAPPED
    assert words in message


def test_bytes_beyond_the_first_memory_word_stay_readable_at_the_edge(compile_wat, limits):
    started = compile_wat(guest("(i32.load (i32.const 131068))")).start(REQUEST, limits)
    assert started.poll() == (_guest.FINISHED, 0)


@pytest.mark.parametrize(
    ("alloc", "outcome"),
    [
        ("(i32.const 0)", _guest.LIMIT),
        ("(i32.const -1)", _guest.CONTRACT),
        ("(i32.const 131060)", _guest.CONTRACT),
    ],
)
def test_an_allocation_that_holds_no_request(compile_wat, limits, alloc, outcome):
    started = compile_wat(guest(alloc=alloc)).start(REQUEST, limits)
    assert started.poll()[0] == outcome


def test_another_version_of_the_contract_is_refused(compile_wat, limits):
    started = compile_wat(guest(version="(i32.const 99)")).start(REQUEST, limits)
    outcome, message, _ = poll_to_end(started)
    assert outcome == _guest.CONTRACT
    assert "99" in message


def test_a_guest_belongs_to_the_thread_that_made_it(compile_wat, limits):
    started = compile_wat(guest()).start(REQUEST, limits)
    caught: list[Exception] = []

    def enter() -> None:
        try:
            started.poll()
        except NativeError as error:
            caught.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert len(caught) == 1
    assert started.poll() == (_guest.FINISHED, 0)


def test_misuse_of_a_guest_is_refused(compile_wat, limits):
    body = f"(call ${LOG} (i32.const 0) (i32.const 0) (i32.const 0))"
    started = compile_wat(guest(body, imports=(LOG,))).start(REQUEST, limits)
    with pytest.raises(NativeError, match="no answer"):
        started.resume(0)
    with pytest.raises(NativeError):
        started.read(0, 1)
    started.poll()
    with pytest.raises(NativeError, match="waits for an answer"):
        started.poll()
    started.resume(0)
    with pytest.raises(NativeError, match="no answer"):
        started.resume(0)
    started.poll()
    with pytest.raises(NativeError, match="ended"):
        started.poll()


def test_abandoned_guests_give_their_slots_back(assemble, limits):
    small = GuestHost(HostLimits(guest_count=4, memory_bytes=1 << 20))
    body = f"(call ${LOG} (i32.const 0) (i32.const 0) (i32.const 0))"
    program = small.compile(assemble(guest(body, imports=(LOG,))))
    for _ in range(5):
        parked = [program.start(REQUEST, limits) for _ in range(4)]
        assert all(each.poll()[0] == _guest.PARKED for each in parked)
        with pytest.raises(GuestLimitError, match="4 guest slots"):
            program.start(REQUEST, limits)
        del parked


@pytest.mark.parametrize("wasm", [b"", b"\0asm", b"\0asm\1\0\0\0\xff", b"text" * 100])
def test_what_is_no_module_cannot_be_compiled(host, wasm):
    with pytest.raises(GuestCompileError):
        host.compile(wasm)


@pytest.mark.parametrize(
    "change",
    [
        {"memory": '(memory (export "memory") 1) (memory 1)'},
        {"memory": '(memory (export "memory") 1 1 shared)'},
        {"extra": "(func (param externref))"},
        {"extra": "(func $f (return_call $f))"},
        {"extra": "(tag $t)"},
        {"extra": "(type $s (struct))"},
        {"extra": f"(func (drop (i8x16.relaxed_swizzle {ZEROS} {ZEROS})))"},
    ],
)
def test_features_outside_the_contract_are_off(host, assemble, change):
    with pytest.raises(GuestCompileError):
        host.compile(assemble(guest(**change)))


@pytest.mark.parametrize(
    "change",
    [{"memory": '(memory (export "memory") 2000)'}, {"extra": "(table 1000000 funcref)"}],
)
def test_more_than_the_pool_can_hold_is_a_limit(host, assemble, change):
    with pytest.raises(GuestLimitError):
        host.compile(assemble(guest(**change)))


def test_a_module_of_too_many_bytes_is_not_compiled(assemble):
    strict = GuestHost(HostLimits(guest_count=1, memory_bytes=1 << 20, program_bytes=100))
    with pytest.raises(GuestLimitError, match="100 are allowed"):
        strict.compile(assemble(guest()))


def test_every_export_is_needed(host, assemble):
    for name in ("realm_abi_version", "realm_alloc", "realm_free", "realm_handle"):
        with pytest.raises(GuestContractError, match=f"export {name}: missing"):
            host.compile(assemble(guest(without=name)))
    with pytest.raises(GuestContractError, match="export memory: missing"):
        host.compile(assemble(guest(memory="(memory 1)")))


def run_python(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


PRELUDE = """
from realm.runtime import _guest
from realm.runtime.limits import GuestLimits, HostLimits
from realm.runtime.program import GuestHost
{before}
host = GuestHost(HostLimits(guest_count=8))
program = host.compile(host.native.wat_to_wasm({source!r}))
{after}
guest = program.start(b"x", GuestLimits())
assert guest.poll()[0] == {outcome}, guest
"""


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ("unreachable", "_guest.TRAPPED"),
        ("(i32.load (i32.const -4))", "_guest.TRAPPED"),
        ("(call $handle (local.get 0) (local.get 1))", "_guest.LIMIT"),
    ],
)
def test_traps_do_not_meet_a_later_faulthandler(body, outcome):
    enable = "import faulthandler; faulthandler.enable()"
    run_python(PRELUDE.format(before="", after=enable, source=guest(body), outcome=outcome))


def test_guests_run_under_a_limit_on_address_space():
    before = "import resource; resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))"
    run_python(
        PRELUDE.format(
            before=before,
            after="assert not host.native.pooled",
            source=guest(),
            outcome="_guest.FINISHED",
        )
    )
