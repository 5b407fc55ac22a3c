"""Many tenants fail at once, again and again: no error reaches anyone but the one who caused it.

    python -m attacks.programs.errors --count 100000 [--tenants 16] [--model smollm2]

Each tenant has a thread and programs of its own, which fail in every way there is: refused names,
traps, limits, errors of the layers below, modules that do not fit. What fails carries the tenant's
mark; an error with another mark, without its own, or that two threads were given is a stray.
Prints how many errors of which class came, and exits with 1 when one went astray.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from attacks.programs.attack import GROUND_LIMITS
from attacks.programs.ground import GROUND_HOST_LIMITS, Ground
from attacks.programs.modules import OPEN_SESSION, ROOM_AT, call, program
from realm.catalog import Catalog
from realm.errors import ContextLengthError, GuestError, GuestLimitError, GuestTrapError, RealmError
from realm.runtime import TenantRuntime
from realm.runtime.policy import TenantPolicy

_MARK = re.compile(r"mark-\d{3}-\d{7}")
_MARK_BYTES = 16
# The prompt stands last in the request: ..."prompt":"<mark>"}
_MARK_AT = f"(i32.sub (i32.add (local.get 0) (local.get 1)) (i32.const {_MARK_BYTES + 2}))"
_TRAPS = ("unreachable", "(i32.div_u (i32.const 1) (local.get $i))", "(i32.load (i32.const -4))")
_TRAP_WORDS = ("unreachable", "divide by zero", "out of bounds")
_IDS = 20_000  # more than the context of any model here, and another number for each tenant
_COMPILE_EVERY = 500
_STACK_DEPTH = 40


@dataclass(slots=True)
class Tally:
    """strays: what went astray, in words; at most ten are kept."""

    classes: Counter[str] = field(default_factory=Counter)
    stray_count: int = 0
    strays: list[str] = field(default_factory=list)


def looks_a_name_up() -> str:
    """Asks for a model by the mark."""
    name = "realm_host_load_model_by_name"
    return program(f"(call ${name} {_MARK_AT} (i32.const {_MARK_BYTES}))")


def tells_its_last_error() -> str:
    """The same, and streams what the host says of it."""
    name = "realm_host_load_model_by_name"
    return program(
        f"(drop (call ${name} {_MARK_AT} (i32.const {_MARK_BYTES})))"
        f" (local.set $i {call('realm_last_error', ROOM_AT, 4096)})"
        f" {call('realm_stream_token', ROOM_AT, '(local.get $i)')}"
    )


class Failing:
    """A tenant, with a thread of its own, whose every request fails."""

    def __init__(self, ground: Ground, number: int) -> None:
        self._ground = ground
        self._number = number
        self._count = itertools.count()
        self._log_bytes = 4_000 + number
        prefill = call("realm_session_prefill", 1, 0, _IDS + number)
        memory = '(memory (export "memory") 4)'
        self._ways: list[tuple[TenantRuntime, type[RealmError] | None, str]] = [
            (self._tenant(looks_a_name_up()), GuestError, ""),
            (self._tenant(tells_its_last_error()), None, ""),
            (
                self._tenant(program(_TRAPS[number % 3])),
                GuestTrapError,
                _TRAP_WORDS[number % 3],
            ),
            (
                self._tenant(program(call("realm_log", 1, 0, 8_000))),
                GuestLimitError,
                f"more than {self._log_bytes} bytes of log",
            ),
            (
                self._tenant(program(f"{OPEN_SESSION} {prefill}", memory=memory)),
                ContextLengthError,
                f"{_IDS + number} token ids",
            ),
        ]

    def run(self, budget: Iterator[int], tally: Tally, lock: threading.Lock) -> None:
        """Fails until the budget is used up."""
        for place in budget:
            mark = f"mark-{self._number:03}-{next(self._count):07}"
            if place % _COMPILE_EVERY == 0:
                name, problem = self._compile(mark)
            else:
                name, problem = self._generate(*self._ways[place % len(self._ways)], mark)
            with lock:
                tally.classes[name] += 1
                if problem:
                    tally.stray_count += 1
                    tally.strays += [problem] if len(tally.strays) < 10 else []

    def _tenant(self, source: str) -> TenantRuntime:
        limits = replace(GROUND_LIMITS, log_bytes=self._log_bytes)
        policy = TenantPolicy(guest_limits=limits)
        return self._ground.tenant(f"tenant-{self._number}", self._ground.compile(source), policy)

    def _generate(
        self, tenant: TenantRuntime, expected: type[RealmError] | None, words: str, mark: str
    ) -> tuple[str, str]:
        """The class of what came, and what is wrong with it."""
        try:
            text = tenant.generate(mark, max_tokens=1, seed=1).text
        except RealmError as error:
            return self._check(error, expected, words or mark, mark)
        if expected is not None or _MARK.findall(text) != [mark]:
            return "none", f"{mark} was told {text!r}"
        return "none", ""

    def _compile(self, mark: str) -> tuple[str, str]:
        foreign = f'(module (import "env" "{mark}" (func))'
        try:
            self._ground.compile(program().replace("(module", foreign, 1))
        except RealmError as error:
            return self._check(error, GuestError, mark, mark)
        return "none", f"{mark} compiled"

    @staticmethod
    def _check(
        error: RealmError, expected: type[RealmError] | None, words: str, mark: str
    ) -> tuple[str, str]:
        name = type(error).__name__
        if expected is None or not isinstance(error, expected) or words not in str(error):
            return name, f"{mark} got {error!r}"
        if any(found != mark for found in _MARK.findall(str(error))):
            return name, f"{mark} got the error of another: {error!r}"
        if hasattr(error, "given_to"):
            return name, f"{mark} got an error that {error.given_to} has"
        if len(traceback.extract_tb(error.__traceback__)) > _STACK_DEPTH:
            return name, f"{mark} got an error that others raised too"
        error.given_to = mark  # type: ignore[attr-defined]
        return name, ""


def run(ground: Ground, tenant_count: int, count: int) -> Tally:
    """`count` failures of so many tenants at once."""
    tally, lock = Tally(), threading.Lock()
    budget = _shared(iter(range(1, count + 1)))
    tenants = [Failing(ground, number) for number in range(tenant_count)]
    threads = [
        threading.Thread(target=tenant.run, args=(budget(), tally, lock)) for tenant in tenants
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return tally


def _shared(numbers: Iterator[int]) -> Callable[[], Iterator[int]]:
    """Iterators that together give each number once, to any number of threads."""
    lock = threading.Lock()

    def iterate() -> Iterator[int]:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            yield number

    return iterate


def main() -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(description="Errors of many tenants at once.")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--tenants", type=int, default=16)
    parser.add_argument("--model", default="smollm2", help="a catalog name or a file (smollm2)")
    options = parser.parse_args()
    path = Path(Catalog().obtain(options.model))
    limits = replace(GROUND_HOST_LIMITS, guest_count=2 * options.tenants)
    with Ground(path, threads=1, host_limits=limits) as ground:
        before = ground.leftovers()
        started = time.perf_counter()
        tally = run(ground, options.tenants, options.count)
        seconds = time.perf_counter() - started
        after = ground.leftovers()
    for name, count in tally.classes.most_common():
        print(f"{count:>9} {name}")
    print(f"{options.count} failures in {seconds:.1f} s, {tally.stray_count} went astray")
    for stray in tally.strays:
        print(stray, file=sys.stderr)
    kept = (after.sequences, after.free_guests) == (0, before.free_guests)
    if not kept:
        print(f"left behind: {after}", file=sys.stderr)
    return 1 if tally.stray_count or not kept else 0


if __name__ == "__main__":
    sys.exit(main())
