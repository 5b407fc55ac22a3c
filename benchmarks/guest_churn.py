"""Guests started and ended very often: memory stays flat, no map, slot, sequence or page is left.

    python benchmarks/guest_churn.py [--count 100000] [--model smollm2]

Requests of a few tenants in turn: most end by themselves, others trap, open sessions and leave
them, grow their memory, or are cancelled in the middle of a host call. Exits with 1 when memory
grew by more than 5 MB after the warm-up, or anything else is left.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import command_line
import results
from process_memory import resident_bytes

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from attacks.programs.ground import GROUND_HOST_LIMITS, Ground
from attacks.programs.modules import NAME_AT, PREFILLED, call, endlessly, program

from realm.catalog import Catalog
from realm.errors import GuestTrapError
from realm.runtime import TenantRuntime

GROWTH_LIMIT_BYTES = 5 << 20
WARM_UP = 5_000
THREADS = 4
GROW = "(loop $l (br_if $l (ptr.ne (memory.grow (ptr.const 1)) (ptr.const -1))))"
TOUCH = "(memory.fill (i32.const 0) (i32.const 1) (i32.mul (memory.size) (i32.const 65536)))"
BODIES = {
    "answers": "(i32.const 0)",
    "traps": "unreachable",
    "leaves its sessions": f"{PREFILLED} (drop {call('realm_session_fork', 1)}) (i32.const 0)",
    "grows": f"{GROW} {TOUCH} (i32.const 0)",
    "is cancelled": f"{PREFILLED} (drop {call('realm_stream_token', NAME_AT, 4)})"
    f" {endlessly(call('realm_now_ms'))} (i32.const 0)",
}
# Of a hundred; the last two cost much more time than the others.
SHARES = {"answers": 70, "traps": 10, "leaves its sessions": 10, "grows": 5, "is cancelled": 5}


def run_one(tenant: TenantRuntime, kind: str) -> None:
    """One request, to the end that its kind has."""
    if kind == "is cancelled":
        stream = tenant.stream("x", seed=1)
        next(stream)
        stream.close()
        return
    try:
        tenant.generate("x", seed=1)
    except GuestTrapError:
        if kind != "traps":
            raise


def churn(tenants: dict[str, TenantRuntime], count: int) -> Counter[str]:
    """`count` requests from some threads; how many of each kind."""
    plan = [kind for kind, share in SHARES.items() for _ in range(share)]
    # Spread, so that all kinds are alive at once; 37 has no divisor in common with 100.
    plan = [plan[37 * place % len(plan)] for place in range(len(plan))]

    def work(thread: int) -> None:
        for place in range(thread, count, THREADS):
            run_one(tenants[plan[place % len(plan)]], plan[place % len(plan)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Counter(plan[place % len(plan)] for place in range(count))


def main() -> int:
    """Run, print, write the JSON; 1 when something is left."""
    arguments = _parse()
    path = Catalog().obtain(arguments.model)
    head = results.begin(model=path.name)
    limits = replace(GROUND_HOST_LIMITS, guest_count=64)
    with Ground(path, threads=1, host_limits=limits) as ground:
        tenants = {
            kind: ground.tenant(kind, ground.compile(program(body)))
            for kind, body in BODIES.items()
        }
        churn(tenants, WARM_UP)
        before, memory = ground.leftovers(collect=True), resident_bytes()
        samples = []
        kinds: Counter[str] = Counter()
        started = time.perf_counter()
        for _ in range(arguments.parts):
            kinds += churn(tenants, arguments.count // arguments.parts)
            samples.append(resident_bytes() - memory)
        seconds = time.perf_counter() - started
        after, grown = ground.leftovers(collect=True), resident_bytes() - memory
    document = head | {
        "requests": sum(kinds.values()),
        "kinds": dict(kinds),
        "seconds": round(seconds, 1),
        "grown_bytes": grown,
        "grown_bytes_by_part": samples,
        "before": asdict(before),
        "after": asdict(after),
    }
    print(f"{sum(kinds.values()):,} guests in {seconds:.1f} s, memory grew by {grown >> 10:,} kB")
    print(f"before {before}\nafter  {after}")
    print(f"written: {results.write(document, 'guest-churn', arguments.output)}")
    same = replace(after, maps=before.maps) == before and after.maps <= before.maps + 16
    return int(not same or grown > GROWTH_LIMIT_BYTES)


def _parse() -> argparse.Namespace:
    parser = command_line.parser(__doc__, "model", "output")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--parts", type=int, default=10, help="memory is looked at so often")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
