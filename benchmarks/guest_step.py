"""What one host call costs a guest: park, answer, resume; the median over several requests.

    python benchmarks/guest_step.py [--model NAME|PATH] [--calls 20000] [--runs 15]

A program calls one function that the host answers at once, many times. The figure is the time of
the request's turns on the engine thread, host function included, divided by the calls.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import command_line
import results

from realm.catalog import Catalog
from realm.config import EngineConfig, ModelConfig
from realm.runtime import GuestLimits, RuntimeManager, TenantPolicy
from realm.runtime.program import GuestHost

LOAD = "(call $load (i32.const 0) (i32.const 5))"
CALLS = {
    "realm_now_ms": "(call $now)",
    "realm_last_size": "(call $size)",
    "realm_session_position": "(call $position (i32.const 1))",
}


def program(host: GuestHost, call: str, count: int) -> bytes:
    """A module that opens a session and makes the call `count` times."""
    return host.native.wat_to_wasm(f"""(module
      (import "env" "realm_host_load_model_by_name" (func $load (param i32 i32) (result i32)))
      (import "env" "realm_session_open" (func $open (param i32) (result i32)))
      (import "env" "realm_session_position" (func $position (param i32) (result i32)))
      (import "env" "realm_last_size" (func $size (result i32)))
      (import "env" "realm_now_ms" (func $now (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "model")
      (func (export "realm_abi_version") (result i32) (i32.const 1))
      (func (export "realm_alloc") (param i32) (result i32) (i32.const 1024))
      (func (export "realm_free") (param i32 i32))
      (func (export "realm_handle") (param i32 i32) (result i32) (local $left i32)
        (drop (call $open {LOAD}))
        (local.set $left (i32.const {count}))
        (loop $again
          (drop {call})
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br_if $again (local.get $left)))
        (i32.const 0)))""")


def measure(model: Path, calls: int, runs: int) -> dict[str, dict[str, float]]:
    """Microseconds a call, by function."""
    host = GuestHost()
    found = {}
    with RuntimeManager(EngineConfig(threads=1)) as manager:
        tenant = manager.get_or_create_runtime_with_model("tenant", ModelConfig(model, "model"))
        for name, call in CALLS.items():
            policy = TenantPolicy(
                program=program(host, call, calls), guest_limits=GuestLimits(compute_seconds=600)
            )
            manager.set_tenant_policy("tenant", policy)
            tenant.generate("x")
            costs = [tenant.generate("x").timings.guest_seconds / calls * 1e6 for _ in range(runs)]
            found[name] = {
                "median": statistics.median(costs), "lowest": min(costs), "highest": max(costs)
            }  # fmt: skip
    return found


def main() -> int:
    """Measure, print, write the JSON."""
    parser = command_line.parser(__doc__, "model", "output")
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    head = results.begin()
    found = measure(Catalog().obtain(arguments.model), arguments.calls, arguments.runs)
    for name, cost in found.items():
        print(
            f"{name}: {cost['median']:.2f} us a call "
            f"({cost['lowest']:.2f} to {cost['highest']:.2f})"
        )
    facts = {"calls": arguments.calls, "runs": arguments.runs, "microseconds_a_call": found}
    print(f"written: {results.write(head | facts, 'guest-step', arguments.output)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
