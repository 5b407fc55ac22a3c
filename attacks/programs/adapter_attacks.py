"""Programs that reach for adapters: of others, of other models, by no name, too often, too late."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.programs import adapters as a
from attacks.programs.attack import ProgramAttack, handler
from attacks.programs.modules import (
    ID_COUNT,
    IDS_AT,
    OPEN_MODEL,
    OPEN_SESSION,
    PREFILLED,
    REQUEST_AT,
    ROOM_AT,
    call,
    endlessly,
    program,
    require,
    text_at,
)
from realm.errors import (
    AdapterMismatchError,
    AdapterNotFoundError,
    AdapterOpenError,
    GuestError,
    GuestLimitError,
    GuestTrapError,
    RealmError,
    RequestError,
)
from realm.runtime.contract import ErrorCode

WAITING = {"wall_seconds": 0.2, "compute_seconds": 100.0}
END = "(i32.const 0)"
ONE = 0x3F800000
FIRST_AT, SECOND_AT = 256, 512  # names, beside each other
POLICY_AT = ROOM_AT + 1024
TOKENS = 8


def set_named(name: str | bytes, model: int = 1) -> str:
    """Sets an adapter by a name that is stored before."""
    data = name.encode() if isinstance(name, str) else name
    answer = call("realm_set_lora_adapter", model, FIRST_AT, len(data))
    return f"(block (result i32) {text_at(FIRST_AT, data)} {answer})"


def named(
    what: str, error: type[RealmError], place: str, name: str | bytes, **limits: float
) -> ProgramAttack:
    """A set of this name, whose refusal the program answers."""
    return handler(f"adapter: {what}", error, place, OPEN_MODEL, set_named(name), **limits)


def of_nobody(what: str, name: str) -> ProgramAttack:
    """A name that must be one of nobody's, and is told back as it was given."""
    return named(what, AdapterNotFoundError, f"no adapter {name!r}", name)


NAMES: Sequence[ProgramAttack] = (
    of_nobody("a neighbour's name", a.THEIRS),
    of_nobody("a neighbour's name behind its tenant", f"{a.NEIGHBOUR}/{a.THEIRS}"),
    of_nobody("a neighbour's name behind a zero", f"{a.NEIGHBOUR}\0{a.THEIRS}"),
    of_nobody("a neighbour's name beside one's own", f"{a.OWN}/../../{a.NEIGHBOUR}/{a.THEIRS}"),
    of_nobody("one's own name and a zero", f"{a.OWN}\0"),
    of_nobody("one's own name in capitals", a.OWN.upper()),
    of_nobody("everyone's name with a space", f" {a.EVERYONES}"),
    of_nobody("nobody's tenant", f"None/{a.EVERYONES}"),
    of_nobody("a path upwards", "../../../../etc/passwd"),
    of_nobody("a path from the root", "/proc/self/fd/0"),
    of_nobody("a path of a home", "~/.cache/realm/adapters/index.json"),
    of_nobody("a file beside one's own", "2.gguf"),
    of_nobody("one zero", "\0"),
    of_nobody("a pattern", "*"),
    named("name that is no text", GuestError, "(REALM_E_UTF8): byte 0", b"\xff\xfe"),
    named("name cut within a character", GuestError, "(REALM_E_UTF8): byte 3", b"own\xf0\x9f"),
    handler(
        "adapter: name of 64 kB of zeros",
        AdapterNotFoundError,
        "no adapter",
        OPEN_MODEL,
        "(memory.fill (i32.const 0) (i32.const 0) (i32.const 65536))",
        call("realm_set_lora_adapter", 1, 0, 65_536),
    ),
    handler(
        "adapter: name that is too long",
        GuestLimitError,
        "at most 65536",
        OPEN_MODEL,
        call("realm_set_lora_adapter", 1, 0, 65_537),
    ),
)

# What has a name, and yet cannot be used with the ground's model.
MISFITS: Sequence[ProgramAttack] = (
    named("of another model", AdapterMismatchError, f"adapter '{a.ELSEWHERE}': ", a.ELSEWHERE),
    named("whose file has changed", AdapterOpenError, f"adapter '{a.CHANGED}': has", a.CHANGED),
    handler(
        "adapter: one that fits stays after one that does not",
        None,
        "",
        OPEN_MODEL,
        require(0, set_named(a.OWN)),
        require(-ErrorCode.ADAPTER, set_named(a.ELSEWHERE)),
        require(-ErrorCode.NOT_FOUND, set_named(a.THEIRS)),
        f"(drop {call('realm_session_open', 1)})",
        f"(drop {call('realm_session_prefill', 1, IDS_AT, ID_COUNT)})",
        require(1, call("realm_session_sample", 1, 0, ROOM_AT, 1)),
        END,
    ),
)

HANDLES: Sequence[ProgramAttack] = (
    handler(
        "adapter: for a handle that is gone",
        GuestError,
        "REALM_E_HANDLE",
        OPEN_MODEL,
        require(0, set_named(a.OWN)),
        require(0, call("realm_remove_model", 1)),
        set_named(a.OWN),
    ),
    handler(
        "adapter: for the handle of a session",
        GuestError,
        "REALM_E_HANDLE",
        OPEN_SESSION,
        f"(drop {call('realm_session_fork', 1)})",
        set_named(a.OWN, model=2),
    ),
    handler(
        "adapter: its handle goes, its session stays",
        None,
        "",
        OPEN_MODEL,
        require(0, set_named(a.OWN)),
        f"(drop {call('realm_session_open', 1)})",
        require(0, call("realm_remove_model", 1)),
        f"(drop {call('realm_session_prefill', 1, IDS_AT, ID_COUNT)})",
        require(1, call("realm_session_sample", 1, 0, ROOM_AT, 1)),
        END,
    ),
)

# A session that decodes by itself, then one like it while adapters are set between its tokens.
_SAMPLE = call("realm_session_sample", "(local.get $i)", POLICY_AT, ROOM_AT, 1)
_SETS = "".join(f"(drop {set_named(name)})" for name in (a.SECOND, a.THEIRS, a.ELSEWHERE, ""))
_POLICY = "".join(f"(i32.store (i32.const {POLICY_AT + at}) (i32.const {ONE}))" for at in (4, 16))


def _decode(session: int, between: str) -> str:
    """TOKENS greedy ids of a session, a byte each, at ROOM_AT + 256 * session."""
    prefill = call("realm_session_prefill", session, IDS_AT, ID_COUNT)
    one = f"""{between} (local.set $i (i32.const {session})) {require(1, _SAMPLE)}
      (i32.store8 (local.get $at) (i32.load (i32.const {ROOM_AT})))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))"""
    start = f"(local.set $at (i32.const {ROOM_AT + 256 * session}))"
    return f"(drop {prefill}) {start} {one * TOKENS}"


def _decoded(session: int) -> str:
    return f"(i64.load (i32.const {ROOM_AT + 256 * session}))"


MOMENTS: Sequence[ProgramAttack] = (
    handler(
        "adapter: set while a session decodes",
        None,
        "",
        OPEN_MODEL,
        _POLICY,
        require(0, set_named(a.OWN)),
        require(1, call("realm_session_open", 1)),
        require(2, call("realm_session_open", 1)),
        _decode(1, ""),
        _decode(2, _SETS),
        f"(if (i64.ne {_decoded(1)} {_decoded(2)}) (then unreachable))",
        END,
    ),
    handler(
        "adapter: set between two layers",
        RequestError,
        "leaves a gap",
        OPEN_MODEL,
        require(0, set_named(a.OWN)),
        f"(local.set $i {call('realm_embed_tokens', 1, IDS_AT, 1, ROOM_AT)})",
        f"(drop {call('realm_forward_layer', 1, 0, ROOM_AT, '(local.get $i)', 0, ROOM_AT)})",
        require(0, set_named(a.SECOND)),
        call("realm_forward_layer", 1, 0, ROOM_AT, "(local.get $i)", 1, ROOM_AT),
    ),
    ProgramAttack(
        "adapter: set in the start function",
        GuestError,
        "REALM_E_HANDLE",
        lambda: program(
            set_named(a.OWN, model=2),
            start=f"{OPEN_MODEL} {require(0, set_named(a.OWN))}",
        ),
    ),
    ProgramAttack(
        "adapter: set in the allocator, while the host writes the request",
        None,
        "",
        lambda: program(
            f"{require(0, set_named(a.SECOND))} {END}",
            alloc=f"{OPEN_MODEL} {require(0, set_named(a.OWN))} (i32.const {REQUEST_AT})",
        ),
    ),
    handler(
        "adapter: set in its own re-entry",
        GuestLimitError,
        "stack",
        OPEN_MODEL,
        f"(drop {set_named(a.OWN)}) (call $handle (local.get 0) (local.get 1))",
        models=1,
    ),
    handler(
        "adapter: trap while one is in use",
        GuestTrapError,
        "unreachable",
        OPEN_MODEL,
        require(0, set_named(a.OWN)),
        f"(drop {call('realm_session_open', 1)}) unreachable",
    ),
    handler(
        "adapter: held by more sessions than there may be",
        GuestLimitError,
        "4 session handles",
        OPEN_MODEL,
        require(0, set_named(a.OWN)),
        f"(loop $l (br_if $l (i32.gt_s {call('realm_session_open', 1)} (i32.const 0))))",
        call("realm_session_open", 1),
    ),
)

FLOODS: Sequence[ProgramAttack] = tuple(
    handler(f"adapter flood: {what}", GuestLimitError, "wall time", *pieces, END, **WAITING)
    for what, *pieces in (
        ("one's own", OPEN_MODEL, endlessly(set_named(a.OWN))),
        (
            "two in turns",
            OPEN_MODEL,
            f"(loop $l (drop {set_named(a.OWN)}) (drop {set_named(a.SECOND)}) (br $l))",
        ),
        ("everyone's", OPEN_MODEL, endlessly(set_named(a.EVERYONES))),
        ("a neighbour's", OPEN_MODEL, endlessly(set_named(a.THEIRS))),
        ("one that never loads", OPEN_MODEL, endlessly(set_named(a.ELSEWHERE))),
        ("none", OPEN_MODEL, endlessly(set_named(""))),
        (
            "a session for each",
            PREFILLED,
            f"(loop $l (drop {set_named(a.OWN)})",
            f"(local.set $i {call('realm_session_open', 1)})",
            f"(drop {call('realm_session_prefill', '(local.get $i)', IDS_AT, ID_COUNT)})",
            f"(drop {call('realm_session_sample', '(local.get $i)', 0, ROOM_AT, 1)})",
            f"(drop {set_named(a.SECOND)})",
            f"(drop {call('realm_session_close', '(local.get $i)')}) (br $l))",
        ),
    )
)

ADAPTERS: Sequence[ProgramAttack] = (*NAMES, *MISFITS, *HANDLES, *MOMENTS, *FLOODS)
