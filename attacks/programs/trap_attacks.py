"""Programs that trap at every moment, and allocators that answer nonsense."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.programs.attack import ProgramAttack, both, handler
from attacks.programs.modules import (
    MEMORY_BYTES,
    PREFILLED,
    ROOM_AT,
    ROOM_BYTES,
    call,
    program,
)
from attacks.programs.plausible import arguments_of
from realm.errors import GuestContractError, GuestLimitError, GuestTrapError
from realm.runtime.contract import HOST_FUNCTIONS

TABLE = "(table 1 funcref)"
JUMP = "(call_indirect (result i32) (i32.const {}))"

TRAPS: Sequence[ProgramAttack] = (
    *both("start that traps", GuestTrapError, "unreachable", start="unreachable"),
    *both("version that traps", GuestTrapError, "unreachable", version="unreachable"),
    *both("allocator that traps", GuestTrapError, "unreachable", alloc="unreachable"),
    *(
        handler(
            f"trap after {function.name}",
            GuestTrapError,
            "unreachable",
            PREFILLED,
            f"(drop {call(function.name, *arguments_of(function))}) unreachable",
        )
        for function in HOST_FUNCTIONS
    ),
    *both(
        "load behind the memory",
        GuestTrapError,
        "out of bounds",
        handle=f"(i32.load (ptr.const {MEMORY_BYTES - 3}))",
    ),
    *both(
        "load at the end of all addresses",
        GuestTrapError,
        "out of bounds",
        handle="(i32.load (ptr.const -1))",
    ),
    *both(
        "load with an offset that overflows",
        GuestTrapError,
        "out of bounds",
        handle="(i32.load offset=4294967295 (ptr.const -4))",
    ),
    *both(
        "store behind the memory",
        GuestTrapError,
        "out of bounds",
        handle=f"(i64.store (ptr.const {MEMORY_BYTES - 7}) (i64.const -1)) (i32.const 0)",
    ),
    handler(
        "division by zero",
        GuestTrapError,
        "divide by zero",
        "(i32.div_u (i32.const 1) (local.get $i))",
    ),
    ProgramAttack(
        "jump through an empty table",
        GuestTrapError,
        "uninitialized element",
        lambda: program(JUMP.format(0), extra=TABLE),
    ),
    ProgramAttack(
        "jump to a function of another type",
        GuestTrapError,
        "type mismatch",
        lambda: program(JUMP.format(0), extra=f"{TABLE} (elem (i32.const 0) func $start)"),
    ),
    ProgramAttack(
        "jump behind the table",
        GuestTrapError,
        "out of bounds",
        lambda: program(JUMP.format(-1), extra=TABLE),
    ),
)

ALLOCATORS: Sequence[ProgramAttack] = (
    *both(
        "allocator that finds nothing",
        GuestLimitError,
        "realm_alloc found no room",
        alloc="(ptr.const 0)",
    ),
    *(
        attack
        for what, answer in (
            ("-1", "-1"),
            ("the memory's end", str(MEMORY_BYTES)),
            ("the last word", str(MEMORY_BYTES - 4)),
            ("2^31", "0x80000000"),
        )
        for attack in both(
            f"allocator that answers {what}",
            GuestContractError,
            "outside",
            alloc=f"(ptr.const {answer})",
        )
    ),
    ProgramAttack(
        "allocator that answers 2^63",
        GuestContractError,
        "outside",
        lambda: program(wide=True, alloc="(ptr.const 0x8000000000000000)"),
    ),
    ProgramAttack(
        "allocator that answers 2^32",
        GuestContractError,
        "outside",
        lambda: program(wide=True, alloc="(ptr.const 0x100000000)"),
    ),
    *both(
        "allocator that grows and answers the new end",
        GuestContractError,
        "outside",
        alloc="(drop (memory.grow (ptr.const 1))) (ptr.mul (memory.size) (ptr.const 65536))",
    ),
    # What these give away is their own.
    *both("allocator that answers an odd address", None, "", alloc="(ptr.const 1)"),
    *both(
        "allocator that opens what it likes",
        None,
        "",
        alloc=f"{PREFILLED} (ptr.const {ROOM_AT + ROOM_BYTES})",
    ),
)

FAILURES: Sequence[ProgramAttack] = (*TRAPS, *ALLOCATORS)
