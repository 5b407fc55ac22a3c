"""Ten thousand registered tenants and a thousand live guests in one process.

    python benchmarks/guest_density.py [--tenants 10000] [--guests 1000] [--model smollm2]

Each live guest is parked in a host call (a tool that does not answer yet) of its own tenant.
Measured: time and memory of registering the tenants with a policy and a runtime each, memory of a
live guest, native alone and with all that the runtime keeps, its memory maps, and the first token
of tenants that were never used before against that of tenants in use, with all guests alive, and a
start that finds all tenants in the state file.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import command_line
import results
from process_memory import map_count, resident_bytes

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from attacks.programs.modules import NAME_AT, ROOM_AT, call, program

from realm.catalog import Catalog
from realm.config import EngineConfig, ModelConfig
from realm.runtime import GuestLimits, HostLimits, RuntimeManager, TenantRuntime
from realm.runtime.policy import TenantPolicy, Tool
from realm.runtime.program import GuestHost, default_program
from realm.runtime.tenant_registry import RegisteredTenant, TenantRegistry

MEMORY_BYTES = 4 << 20
LIMITS = GuestLimits(memory_bytes=MEMORY_BYTES)
REQUEST = b'{"model":"tiny","options":{"max_tokens":1},"prompt":"Hello"}'
# The tool is called by the model's name, which every guest of `program` has in its memory.
WAITS = program(
    f"(drop {call('realm_stream_token', NAME_AT, 4)})"
    f" (drop {call('realm_tool_call', NAME_AT, 4, NAME_AT, 4, ROOM_AT, 16)}) (i32.const 0)"
)


def native_guests(count: int, wasm: bytes | str) -> dict[str, float]:
    """Guests parked in their first host call, with nothing around them."""
    host = GuestHost(HostLimits(guest_count=count + 1, memory_bytes=MEMORY_BYTES))
    module = host.native.wat_to_wasm(wasm) if isinstance(wasm, str) else wasm
    guest_program = host.compile(module)
    first = guest_program.start(REQUEST, LIMITS)
    first.poll()
    memory, maps, started = resident_bytes(), map_count(), time.perf_counter()
    parked = [guest_program.start(REQUEST, LIMITS) for _ in range(count)]
    for each in parked:
        each.poll()
    seconds = time.perf_counter() - started
    found = {
        "bytes_each": (resident_bytes() - memory) / count,
        "maps_each": (map_count() - maps) / count,
        "start_microseconds": 1e6 * seconds / count,
    }
    del parked
    return found


def register(
    manager: RuntimeManager, config: ModelConfig, policy: TenantPolicy, count: int
) -> tuple[list[TenantRuntime], float, float]:
    """The runtimes, the seconds, and the bytes of each."""
    memory, started = resident_bytes(), time.perf_counter()
    runtimes = []
    for number in range(count):
        tenant_id = f"tenant-{number}"
        if number % 10 == 0:
            manager.set_tenant_policy(tenant_id, policy)
        runtimes.append(manager.get_or_create_runtime_with_model(tenant_id, config))
    seconds = time.perf_counter() - started
    return runtimes, seconds, (resident_bytes() - memory) / count


def restart_seconds(config: ModelConfig, policy: TenantPolicy, count: int) -> float:
    """From a state file with so many tenants, a tenth of them with a policy, to a manager."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        registry = TenantRegistry(path)
        for number in range(count):
            own = policy if number % 10 == 0 else TenantPolicy()
            registry.put(RegisteredTenant(f"tenant-{number}", own, None, (config,)))
        registry.close()
        started = time.perf_counter()
        with RuntimeManager(state_path=path) as manager:
            seconds = time.perf_counter() - started
            assert len(manager.metrics()) == count
        return seconds


def first_token_seconds(tenant: TenantRuntime) -> float:
    """From the call to the first piece."""
    started = time.perf_counter()
    stream = tenant.stream("Hello", max_tokens=1, temperature=0, ignore_eos=True)
    next(stream)
    seconds = time.perf_counter() - started
    stream.close()
    return seconds


def main() -> int:
    """Run, print the table, write the JSON."""
    arguments = _parse()
    path = Catalog().obtain(arguments.model)
    document = results.begin(model=path.name) | {
        "tenants": arguments.tenants,
        "live_guests": arguments.guests,
        "native_smallest": native_guests(arguments.guests, WAITS),
        "native_default": native_guests(arguments.guests, default_program()),
    }
    gate = threading.Event()

    def wait(_: bytes) -> bytes:
        gate.wait()
        return b""

    host_limits = HostLimits(guest_count=arguments.guests + 64, memory_bytes=MEMORY_BYTES)
    config = ModelConfig(path, "tiny")
    engine = EngineConfig(threads=arguments.threads)
    with RuntimeManager(engine, limits=LIMITS, host_limits=host_limits) as manager:
        usual = manager.get_or_create_runtime_with_model("usual", config)
        first_token_seconds(usual)
        wasm = GuestHost(HostLimits(guest_count=1)).native.wat_to_wasm(WAITS)
        policy = TenantPolicy(program=wasm, tools={"tiny": Tool(wait, seconds=600.0)})
        manager.set_tenant_policy("first", policy)  # compiles the program, once for all
        runtimes, seconds, bytes_each = register(manager, config, policy, arguments.tenants)
        document["register_seconds"] = seconds
        document["registered_tenant_bytes"] = bytes_each
        memory, maps, started = resident_bytes(), map_count(), time.perf_counter()
        waiting = [runtime.stream("x", seed=1) for runtime in runtimes[::10][: arguments.guests]]
        for stream in waiting:
            next(stream)
        document["start_live_seconds"] = time.perf_counter() - started
        document["live_guest_bytes"] = (resident_bytes() - memory) / len(waiting)
        document["live_guest_maps"] = (map_count() - maps) / len(waiting)
        alive = sum(each.live_guests for each in manager.metrics().values())
        assert alive == len(waiting) == arguments.guests, alive
        cold, warm = [], []
        for runtime in runtimes[5 : 5 + 10 * arguments.rounds : 10]:
            cold.append(first_token_seconds(runtime))
            warm.append(first_token_seconds(usual))
        document["cold_first_token_ms"] = 1e3 * statistics.median(cold)
        document["warm_first_token_ms"] = 1e3 * statistics.median(warm)
        gate.set()
        for stream in waiting:
            stream.close()
    document["restart_seconds"] = restart_seconds(config, policy, arguments.tenants)
    for name, value in document.items():
        if isinstance(value, float | int):
            print(f"{name.replace('_', ' '):28} {value:14,.2f}")
        elif name.startswith("native"):
            print(f"{name.replace('_', ' '):28} {value}")
    print(f"written: {results.write(document, 'guest-density', arguments.output)}")
    return 0


def _parse() -> argparse.Namespace:
    parser = command_line.parser(__doc__, "model", "threads", "output")
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--guests", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=50, help="cold and warm first tokens")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
