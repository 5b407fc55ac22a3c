"""Pieces of hostile programs as WASM text, for both widths of addresses.

In every piece `ptr` stands for the type of an address: i32, or i64 when the module is wide.
"""

from __future__ import annotations

import re

from realm.runtime.contract import HOST_FUNCTIONS, HostFunction

FUNCTIONS = {function.name: function for function in HOST_FUNCTIONS}

PAGE_BYTES = 64 << 10
MEMORY_PAGES = 4
MEMORY_BYTES = MEMORY_PAGES * PAGE_BYTES

# What `program` puts into the memory: where, and how long.
NAME_AT, NAME_BYTES = 16, 4
IDS_AT, ID_COUNT = 32, 8
REQUEST_AT = 32 << 10
ROOM_AT, ROOM_BYTES = 64 << 10, 64 << 10
MODEL_NAME = "tiny"

FOREVER = "(loop $forever (br $forever))"
OPEN_MODEL = f"(drop (call $realm_host_load_model_by_name (ptr.const {NAME_AT}) (ptr.const 4)))"
OPEN_SESSION = f"{OPEN_MODEL} (drop (call $realm_session_open (i32.const 1)))"
# A session with some tokens in it: model 1, session 1.
PREFILLED = (
    f"{OPEN_SESSION} (drop (call $realm_session_prefill"
    f" (i32.const 1) (ptr.const {IDS_AT}) (ptr.const {ID_COUNT})))"
)


def call(name: str, *arguments: int | str) -> str:
    """A call of a host function; numbers become constants of the parameters' types."""
    function = FUNCTIONS[name]
    words = []
    for parameter, argument in zip(function.parameters, arguments, strict=True):
        if isinstance(argument, str):
            words.append(argument)
        else:
            kind = "ptr" if parameter.letters == "iI" else "i32"
            words.append(f"({kind}.const {argument})")
    return f"(call ${name} {' '.join(words)})"


def text_at(at: int, text: str | bytes) -> str:
    """Stores a text byte by byte."""
    data = text.encode() if isinstance(text, str) else text
    return "".join(
        f"(i32.store8 (i32.const {at + place}) (i32.const {byte}))"
        for place, byte in enumerate(data)
    )


def require(code: int, answer: str) -> str:
    """Goes on when the i32 is `code`; else traps, which no attack expects."""
    return f"(if (i32.ne {answer} (i32.const {code})) (then unreachable))"


def endlessly(answer: str) -> str:
    """The same call again and again, whatever it answers."""
    return f"(loop $endlessly (drop {answer}) (br $endlessly))"


def until_refused(answer: str) -> str:
    """The same call again and again until it answers with an error, which is then returned."""
    return f"""
      (local.set $code {answer})
      (loop $more
        (if (i32.ge_s (local.get $code) (i32.const 0))
          (then (local.set $code {answer}) (br $more))))
      (local.get $code)"""


def declare(function: HostFunction) -> str:
    """The import of a host function."""
    types = ["ptr" if p.letters == "iI" else "i32" for p in function.parameters]
    parameters = f"(param {' '.join(types)})" if types else ""
    name = function.name
    return f'(import "env" "{name}" (func ${name} {parameters} (result i32)))'


def program(
    handle: str = "(i32.const 0)",
    *,
    wide: bool = False,
    memory: str | None = None,
    alloc: str = f"(ptr.const {REQUEST_AT})",
    version: str = "(i32.const 1)",
    start: str = "",
    extra: str = "",
    without: tuple[str, ...] = (),
) -> str:
    """A whole guest. `handle` is the body of realm_handle with the locals $code, $i and $at.

    The functions of the contract that any piece calls are imported. without: exports left out.
    """

    def export(name: str) -> str:
        return "" if name in without else f'(export "{name}")'

    if memory is None:
        memory = f'(memory (export "memory") {"i64 " if wide else ""}{MEMORY_PAGES})'
    pieces = "\n".join((handle, alloc, version, start, extra))
    used = [row for row in HOST_FUNCTIONS if re.search(rf"\${row.name}\b", pieces)]
    ids = "".join(f"\\{number:02x}\\00\\00\\00" for number in range(1, ID_COUNT + 1))
    text = f"""(module
      {"".join(map(declare, used))}
      {memory}
      {extra}
      (data (ptr.const {NAME_AT}) "{MODEL_NAME}")
      (data (ptr.const {IDS_AT}) "{ids}")
      (func $version {export("realm_abi_version")} (result i32) {version})
      (func $alloc {export("realm_alloc")} (param ptr) (result ptr) {alloc})
      (func $free {export("realm_free")} (param ptr ptr))
      (func $start {start})
      (start $start)
      (func $handle {export("realm_handle")} (param ptr ptr) (result i32)
        (local $code i32) (local $i i32) (local $at ptr)
        {handle}))"""
    return as_width(text, wide=wide)


def as_width(text: str, *, wide: bool) -> str:
    """The text with `ptr` as the type that addresses have."""
    return re.sub(r"\bptr\b", "i64" if wide else "i32", text)
