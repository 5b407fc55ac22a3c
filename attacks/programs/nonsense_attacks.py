"""Programs that say what makes no sense: text, numbers and answers of every wrong kind."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.programs.attack import ProgramAttack, handler
from attacks.programs.modules import (
    IDS_AT,
    NAME_AT,
    OPEN_MODEL,
    OPEN_SESSION,
    PREFILLED,
    REQUEST_AT,
    ROOM_AT,
    call,
    program,
)
from realm.errors import (
    ChatTemplateError,
    ConfigError,
    GuestError,
    GuestLimitError,
    RealmError,
    RequestError,
)
from realm.runtime.contract import ErrorCode

LONG = 2_000_000_000
ONE = 0x3F800000
NAN = 0x7FC00000
INFINITY = 0x7F800000
MINUS_ONE = 0xBF800000
ROW = f"(local.set $i {call('realm_embed_tokens', 1, IDS_AT, 1, ROOM_AT)})"


def words(at: int, *values: int) -> str:
    """Stores u32 values one after the other."""
    return "".join(
        f"(i32.store (i32.const {at + 4 * place}) (i32.const {value}))"
        for place, value in enumerate(values)
    )


def fill(byte: int, size: int) -> str:
    """`size` equal bytes from 0 on."""
    return f"(memory.fill (i32.const 0) (i32.const {byte}) (i32.const {size}))"


def refused(name: str, code: ErrorCode, text: str, *pieces: str) -> ProgramAttack:
    """A call that is refused with a code and a text, which the program then answers."""
    return handler(name, GuestError, f"({code.symbol}): {text}", *pieces)


def layer(index: int, count: str, position: int) -> str:
    """realm_forward_layer on `count` values."""
    return call("realm_forward_layer", 1, index, ROOM_AT, count, position, ROOM_AT)


ANSWERS: Sequence[ProgramAttack] = (
    handler("does nothing", None, "", "(i32.const 0)"),
    handler("answers a large number", None, "", "(i32.const 2147483647)"),
    handler(
        "answers what is no code", GuestError, "no code of the contract", "(i32.const -2147483648)"
    ),
    handler("answers a limit that it never met", GuestLimitError, "LIMIT", "(i32.const -10)"),
    handler("answers a fault that never was", GuestError, "INTERNAL", "(i32.const -15)"),
    *(
        handler(
            f"response of 60 kB of {what}",
            None,
            "",
            fill(byte, 60_000),
            call("realm_respond", 0, 60_000),
        )
        for what, byte in (("no text", 255), ("brackets", ord("[")), ("digits", ord("9")))
    ),
    handler(
        "response that is too long",
        GuestLimitError,
        "65536 bytes",
        call("realm_respond", 0, 65_537),
    ),
    ProgramAttack(
        "host writes over the request",
        None,
        "",
        lambda: program(f"(drop {call('realm_random', REQUEST_AT, 4096)}) (i32.const 0)"),
    ),
)

TEXTS: Sequence[ProgramAttack] = (
    handler(
        "text that is too long",
        GuestLimitError,
        "at most 65536",
        OPEN_MODEL,
        call("realm_encode_tokens", 1, 0, 200_000, 0, 16),
    ),
    handler(
        "piece that is too long",
        GuestLimitError,
        "bytes of output",
        call("realm_stream_token", 0, 200_000),
    ),
    handler("too much randomness", GuestLimitError, "random", call("realm_random", 0, 200_000)),
    refused(
        "piece that is no text",
        ErrorCode.UTF8,
        "byte 0",
        fill(255, 16),
        call("realm_stream_token", 0, 16),
    ),
    refused(
        "piece cut within a character",
        ErrorCode.UTF8,
        "byte 0",
        words(0, 0x9F98F0),
        call("realm_stream_token", 0, 3),
    ),
    refused(
        "half of a surrogate pair",
        ErrorCode.UTF8,
        "byte 0",
        words(0, 0x80A0ED),
        call("realm_stream_token", 0, 3),
    ),
    refused(
        "name that is no text",
        ErrorCode.UTF8,
        "byte 0",
        fill(254, 16),
        call("realm_host_load_model_by_name", 0, 16),
    ),
    refused(
        "name of 64 kB of zeros",
        ErrorCode.NOT_FOUND,
        "no model",
        fill(0, 65_536),
        call("realm_host_load_model_by_name", 0, 65_536),
    ),
    refused(
        "name that is a path",
        ErrorCode.NOT_FOUND,
        "no model '../'",
        words(0, 0x2F2E2E),
        call("realm_host_load_model_by_name", 0, 3),
    ),
    refused("log level -1", ErrorCode.INVALID, "level -1", call("realm_log", -1, 0, 4)),
    refused(
        "log that is no text", ErrorCode.UTF8, "byte 0", fill(255, 16), call("realm_log", 1, 0, 16)
    ),
    refused(
        "messages that are brackets",
        ErrorCode.JSON,
        "messages",
        OPEN_MODEL,
        fill(ord("["), 60_000),
        call("realm_render_chat", 1, 0, 60_000, 0, 16),
    ),
    handler(
        "messages without a role",
        ChatTemplateError,
        "",
        OPEN_MODEL,
        words(0, 0x5D7D7B5B),
        call("realm_render_chat", 1, 0, 4, 0, 16),
    ),
)


def sample(name: str, error: type[RealmError], place: str, *policy: int) -> ProgramAttack:
    """A sample with a policy of raw words."""
    answer = call("realm_session_sample", 1, ROOM_AT, ROOM_AT + 64, 1)
    return handler(name, error, place, PREFILLED, words(ROOM_AT, *policy), answer)


def generate(name: str, error: type[RealmError], place: str, *options: int) -> ProgramAttack:
    """A generation on the host with options of raw words."""
    answer = call("realm_host_generate", 1, NAME_AT, 4, ROOM_AT, ROOM_AT, 4096)
    return handler(name, error, place, OPEN_MODEL, words(ROOM_AT, *options), answer)


NUMBERS: Sequence[ProgramAttack] = (
    refused(
        "flags that do not exist",
        ErrorCode.INVALID,
        "unknown flags 0xffffffff",
        OPEN_MODEL,
        call("realm_encode_text", 1, 16, 4, -1, ROOM_AT, 9),
    ),
    refused(
        "token ids outside the vocabulary",
        ErrorCode.TOKENIZER,
        "token 4294967295",
        OPEN_SESSION,
        fill(255, 16),
        call("realm_session_prefill", 1, 0, 4),
    ),
    refused(
        "layer -1", ErrorCode.INVALID, "layer -1", OPEN_MODEL, ROW, layer(-1, "(local.get $i)", 0)
    ),
    refused(
        "layer 2^31 - 1",
        ErrorCode.INVALID,
        "layer 2147483647",
        OPEN_MODEL,
        ROW,
        layer(2**31 - 1, "(local.get $i)", 0),
    ),
    refused("half a row", ErrorCode.INVALID, "7 values", OPEN_MODEL, layer(0, "(i32.const 7)", 0)),
    handler(
        "layer far behind the cache",
        RequestError,
        "leaves a gap",
        OPEN_MODEL,
        ROW,
        layer(0, "(local.get $i)", 1000),
    ),
    handler(
        "layer on numbers that are none",
        None,
        "",
        OPEN_MODEL,
        ROW,
        f"(memory.fill (i32.const {ROOM_AT}) (i32.const 255) (i32.const 4096))",
        f"(drop {layer(0, '(local.get $i)', 0)})",
        f"(drop {call('realm_compute_logits', 1, ROOM_AT, '(local.get $i)', ROOM_AT)})",
        "(i32.const 0)",
    ),
    sample("temperature that is no number", ConfigError, "temperature", NAN),
    sample("temperature without end", ConfigError, "temperature", INFINITY),
    sample("negative temperature", ConfigError, "temperature", MINUS_ONE),
    sample("top_p of 0", ConfigError, "top_p", 0, 0),
    generate("options that are no numbers", ConfigError, "temperature", LONG, NAN, NAN, LONG, NAN),
    generate(
        "stop tokens at the end of all addresses",
        GuestError,
        "REALM_E_POINTER): 1020 bytes at 4294967292",
        *(9, ONE, ONE, 0, ONE, 0, 255, -4),
    ),
    handler(
        "answer of an empty session",
        RequestError,
        "no tokens",
        OPEN_SESSION,
        call("realm_session_sample", 1, 0, ROOM_AT, 1),
    ),
    refused(
        "rewind to -1",
        ErrorCode.INVALID,
        "position -1",
        PREFILLED,
        call("realm_session_rewind", 1, -1),
    ),
    refused(
        "rewind past the end",
        ErrorCode.INVALID,
        "position 2147483647",
        PREFILLED,
        call("realm_session_rewind", 1, 2**31 - 1),
    ),
)

NONSENSE: Sequence[ProgramAttack] = (*ANSWERS, *TEXTS, *NUMBERS)
