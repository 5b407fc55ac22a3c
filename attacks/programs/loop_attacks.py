"""Programs that never end: they compute, wait busily, or ask the host for the same again."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.programs.attack import ProgramAttack, both, handler
from attacks.programs.modules import (
    FOREVER,
    ID_COUNT,
    IDS_AT,
    NAME_AT,
    OPEN_MODEL,
    PREFILLED,
    ROOM_AT,
    call,
    endlessly,
    program,
)
from realm.errors import GuestLimitError

WAITING = {"wall_seconds": 0.2, "compute_seconds": 100.0}
LOGITS = 49_152  # fits the rest of the memory from ROOM_AT on
END = "(i32.const 0)"
SAMPLE = f"(drop {call('realm_session_sample', 1, 0, ROOM_AT, 1)})"

COMPUTE: Sequence[ProgramAttack] = (
    *both("endless start", GuestLimitError, "compute time", start=FOREVER),
    *both("endless version", GuestLimitError, "compute time", version=f"{FOREVER} (i32.const 1)"),
    *both("endless alloc", GuestLimitError, "compute time", alloc=f"{FOREVER} (ptr.const 0)"),
    *both("endless handler", GuestLimitError, "compute time", handle=f"{FOREVER} {END}"),
    handler(
        "endless filling of memory",
        GuestLimitError,
        "compute time",
        "(loop $l (memory.fill (i32.const 0) (local.get $i) (i32.const 262144))",
        "(local.set $i (i32.add (local.get $i) (i32.const 1))) (br $l))",
        END,
    ),
    handler(
        "endless work between host calls",
        GuestLimitError,
        "compute time",
        "(loop $l (local.set $i (i32.const 5000))",
        "(loop $w (br_if $w (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))",
        f"(drop {call('realm_now_ms')}) (br $l))",
        END,
    ),
    handler(
        "endless work after a token",
        GuestLimitError,
        "compute time",
        PREFILLED,
        SAMPLE,
        FOREVER,
        END,
    ),
)

# Each call is answered at once, mostly with an error, and costs the guest itself nothing.
BUSY_WAITS: Sequence[ProgramAttack] = (
    *(
        handler(
            f"busy wait on {name}",
            GuestLimitError,
            "wall time",
            endlessly(call(name, *arguments)),
            END,
            **WAITING,
        )
        for name, *arguments in (
            ("realm_now_ms",),
            ("realm_last_size",),
            ("realm_random", ROOM_AT, 4096),
            ("realm_stream_token", ROOM_AT, 0),
            ("realm_log", 7, 0, 0),
            ("realm_session_position", 1),
            ("realm_host_load_model_by_name", 0, 4),
        )
    ),
    ProgramAttack(
        "busy wait in the start function",
        GuestLimitError,
        "wall time",
        lambda: program(start=endlessly(call("realm_now_ms"))),
        WAITING,
    ),
    ProgramAttack(
        "busy wait in the allocator",
        GuestLimitError,
        "wall time",
        lambda: program(alloc=f"{endlessly(call('realm_now_ms'))} (i32.const 0)"),
        WAITING,
    ),
)

HOST_WORK: Sequence[ProgramAttack] = tuple(
    handler(name, GuestLimitError, "wall time", *pieces, END, **WAITING)
    for name, *pieces in (
        ("logit flood", PREFILLED, endlessly(call("realm_session_logits", 1, ROOM_AT, LOGITS))),
        (
            "flood of head products",
            OPEN_MODEL,
            f"(local.set $i {call('realm_embed_tokens', 1, IDS_AT, 1, ROOM_AT)})",
            endlessly(call("realm_compute_logits", 1, ROOM_AT, "(local.get $i)", ROOM_AT)),
        ),
        (
            "flood of embeddings",
            OPEN_MODEL,
            endlessly(call("realm_embed_tokens", 1, IDS_AT, ID_COUNT, ROOM_AT)),
        ),
        (
            "text to tokens without end",
            OPEN_MODEL,
            endlessly(call("realm_encode_text", 1, ROOM_AT, 60_000, 0, ROOM_AT, 40_000)),
        ),
        (
            "much text before each token",
            PREFILLED,
            "(loop $l",
            f"(drop {call('realm_encode_text', 1, ROOM_AT, 60_000, 0, ROOM_AT, 40_000)})",
            SAMPLE,
            f"(drop {call('realm_session_rewind', 1, ID_COUNT)}) (br $l))",
        ),
        (
            "answers and rewinds without end",
            PREFILLED,
            f"(loop $l {SAMPLE} (drop {call('realm_session_rewind', 1, 1)}) (br $l))",
        ),
        (
            "prompts without end",
            OPEN_MODEL,
            f"(loop $l (local.set $i {call('realm_session_open', 1)})",
            f"(drop {call('realm_session_prefill', '(local.get $i)', ROOM_AT, 1000)})",
            f"(drop {call('realm_session_sample', '(local.get $i)', 0, IDS_AT, 1)})",
            f"(drop {call('realm_session_close', '(local.get $i)')}) (br $l))",
        ),
        (
            "forks and ends without end",
            PREFILLED,
            "(loop $l (drop (call $realm_session_close",
            f"{call('realm_session_fork', 1)})) (br $l))",
        ),
        (
            "models and ends without end",
            "(loop $l (drop (call $realm_remove_model",
            f"{call('realm_host_load_model_by_name', NAME_AT, 4)})) (br $l))",
        ),
    )
)

LOOPS: Sequence[ProgramAttack] = (*COMPUTE, *BUSY_WAITS, *HOST_WORK)
