"""Programs that grow: stack, memory, tables, and whatever the host keeps for them."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.programs.attack import ProgramAttack, both, handler
from attacks.programs.modules import (
    ID_COUNT,
    IDS_AT,
    NAME_AT,
    OPEN_MODEL,
    PREFILLED,
    call,
    program,
    until_refused,
)
from realm.errors import ContextLengthError, GuestError, GuestLimitError, GuestTrapError

GROW = "(memory.grow (ptr.const 1))"
GROW_TO_THE_LIMIT = f"(loop $grow (br_if $grow (ptr.ne {GROW} (ptr.const -1))))"
AGAIN = "(call $handle (local.get 0) (local.get 1))"
FRAME_LOCALS = range(1, 10_001, 9)


def wide_frames() -> str:
    """A recursion whose every frame keeps a thousand values."""
    keep = "".join(f"(local.set {n} (i64.extend_i32_u (local.get 0)))" for n in FRAME_LOCALS)
    use = "".join(f"(local.set 1 (i64.add (local.get 1) (local.get {n})))" for n in FRAME_LOCALS)
    deeper = "(drop (call $wide (i32.add (local.get 0) (i32.const 1))))"
    local = f"(local {'i64 ' * 10_000})"
    body = f"{local} {keep} {deeper} {use} (i32.wrap_i64 (local.get 1))"
    return program(
        "(call $wide (i32.const 1))", extra=f"(func $wide (param i32) (result i32) {body})"
    )


STACK: Sequence[ProgramAttack] = (
    *both("recursion without end", GuestLimitError, "stack", handle=AGAIN),
    *both(
        "recursion through host calls",
        GuestLimitError,
        "stack",
        handle=f"(drop {call('realm_now_ms')}) {AGAIN}",
    ),
    *both("recursion in the start function", GuestLimitError, "stack", start="(call $start)"),
    ProgramAttack(
        "recursion through a table",
        GuestLimitError,
        "stack",
        lambda: program(
            "(call_indirect (param i32 i32) (result i32)"
            " (i32.const 0) (i32.const 0) (i32.const 0))",
            extra="(table 1 funcref) (elem (i32.const 0) func $handle)",
        ),
    ),
    ProgramAttack("recursion with wide frames", GuestLimitError, "stack", wide_frames),
    handler(
        "re-entry of its own exports",
        GuestLimitError,
        "stack",
        f"(drop (call $version)) (call $handle (call $alloc (i32.const 8)) {call('realm_now_ms')})",
    ),
)

MEMORY: Sequence[ProgramAttack] = (
    *both("memory bomb", GuestTrapError, "unreachable", handle=f"{GROW_TO_THE_LIMIT} unreachable"),
    *both(
        "memory bomb in the start function",
        GuestTrapError,
        "unreachable",
        start=f"{GROW_TO_THE_LIMIT} unreachable",
    ),
    handler(
        "memory bomb that touches all it gets",
        GuestTrapError,
        "unreachable",
        GROW_TO_THE_LIMIT,
        "(memory.fill (i32.const 0) (i32.const 170) (i32.mul (memory.size) (i32.const 65536)))",
        "unreachable",
    ),
    handler(
        "growth by 2^32 - 1 pages at once",
        None,
        "",
        "(i32.add (memory.grow (i32.const -1)) (i32.const 1))",
    ),
    ProgramAttack(
        "growth by 2^64 - 1 pages at once",
        None,
        "",
        lambda: program(
            "(i32.add (i32.wrap_i64 (memory.grow (i64.const -1))) (i32.const 1))", wide=True
        ),
    ),
    ProgramAttack(
        "table bomb",
        GuestTrapError,
        "unreachable",
        lambda: program(
            "(loop $l (br_if $l (i32.ne (i32.const -1)"
            " (table.grow $t (ref.null func) (i32.const 512))))) unreachable",
            extra="(table $t 1 funcref)",
        ),
    ),
)

# Until the host says no, and then the program answers with what the host said.
KEPT_BY_THE_HOST: Sequence[ProgramAttack] = tuple(
    handler(name, error, place, before, until_refused(flood))
    for name, error, place, before, flood in (
        (
            "models without end",
            GuestLimitError,
            "4 model handles",
            "",
            call("realm_host_load_model_by_name", NAME_AT, 4),
        ),
        (
            "sessions without end",
            GuestLimitError,
            "4 session handles",
            OPEN_MODEL,
            call("realm_session_open", 1),
        ),
        (
            "forks without end",
            GuestLimitError,
            "4 session handles",
            PREFILLED,
            call("realm_session_fork", 1),
        ),
        (
            "stream without end",
            GuestLimitError,
            "65536 bytes of output",
            "",
            call("realm_stream_token", NAME_AT, 4),
        ),
        (
            "log without end",
            GuestLimitError,
            "4096 bytes of log",
            "",
            call("realm_log", 1, NAME_AT, 4),
        ),
        (
            "empty log lines without end",
            GuestLimitError,
            "4096 bytes of log",
            "",
            call("realm_log", 1, 0, 0),
        ),
        (
            "tokens without end",
            ContextLengthError,
            "exceed the context",
            PREFILLED,
            call("realm_session_accept", 1, IDS_AT, ID_COUNT),
        ),
        (
            "prompt without end",
            ContextLengthError,
            "exceed the context",
            PREFILLED,
            call("realm_session_prefill", 1, IDS_AT, ID_COUNT),
        ),
        (
            "responses without end",
            GuestError,
            "REALM_E_STATE",
            "",
            call("realm_respond", NAME_AT, 4),
        ),
    )
)

GROWTH: Sequence[ProgramAttack] = (*STACK, *MEMORY, *KEPT_BY_THE_HOST)
