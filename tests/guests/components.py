"""Components in WAT text: scripts of host calls, and what no honest component does."""

from __future__ import annotations

from realm.runtime.component_contract import COMPONENT_FUNCTIONS, HOST_INSTANCE

FUNCTIONS = {function.name: function for function in COMPONENT_FUNCTIONS}
_NUMBERS = ("s32", "u32", "room")
_OUT = 1 << 16  # where a script's results are put together
_RETURNED = 1 << 10  # where a call's result is returned
_DATA = 1 << 12
# Hands out memory from a third page on, and grows it; never gives any back.
_MEMORY = """(core module $memory_module
    (memory (export "memory") {pages})
    (global $next (mut i32) (i32.const 0x30000))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (block $room
        (br_if $room (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
        (drop (memory.grow (i32.add (i32.shr_u (local.get 3) (i32.const 16)) (i32.const 1)))))
      (local.get $at)))"""
_OPTIONS = (
    '(memory (core memory $memory "memory")) (realloc (core func $memory "realloc")) '
    "string-encoding=utf8"
)


def component(
    handle: str = "(i32.const 0)",
    *,
    imports: tuple[str, ...] = (),
    pages: int = 4,
    extra: str = "",
    data: bytes = b"",
    export: str = "handle",
    result: str = "s32",
    outside: str = "",
) -> str:
    """A whole component; `handle` is the body of handle(request_ptr $0, request_len $1).

    data: stands at 4096. $i, $j are locals for loops. extra: in the module of the program.
    outside: other imports of the component.
    """
    wanted = [FUNCTIONS[name] for name in imports]
    declared = "\n".join(f'(export "{each.name}" {_wit(each.type)})' for each in wanted)
    lowered = "\n".join(
        f'(core func ${each.name} (canon lower (func $host "{each.name}") {_OPTIONS}))'
        for each in wanted
    )
    core = "\n".join(
        f'(import "host" "{each.name}" (func ${each.name} {_core(each)}))' for each in wanted
    )
    given = " ".join(f'(export "{each.name}" (func ${each.name}))' for each in wanted)
    host = f'(import "{HOST_INSTANCE}" (instance $host {declared}))' if wanted else ""
    bytes_text = "".join(f"\\{byte:02x}" for byte in data)
    return f"""(component
      {outside}
      {host}
      {_MEMORY.format(pages=pages)}
      (core instance $memory (instantiate $memory_module))
      {lowered}
      (core module $main
        (import "memory" "memory" (memory 1))
        {core}
        {extra}
        (data (i32.const {_DATA}) "{bytes_text}")
        (func $handle (export "handle") (param i32 i32) (result i32) (local $i i32) (local $j i32)
          {handle}))
      (core instance $program (instantiate $main
        (with "memory" (instance $memory))
        (with "host" (instance {given}))))
      (func (export "{export}") (param "request" string) (result {result})
        (canon lift (core func $program "handle") {_OPTIONS})))"""


def script(calls: list[tuple[str, list[object]]], *, pages: int = 4) -> str:
    """A component that makes these calls, text and bytes as constants, and responds with what they
    gave: a byte of 1 with size and data, a byte of 0 for none, or four bytes of a number."""
    data = bytearray()
    body = [f"(local.set $i (i32.const {_OUT}))"]
    for name, arguments in calls:
        function, given = FUNCTIONS[name], []
        for kind, value in zip(function.parameters, arguments, strict=True):
            if kind in _NUMBERS:
                given.append(f"(i32.const {value})")
            else:
                encoded = value.encode() if isinstance(value, str) else bytes(value)
                given.append(f"(i32.const {_DATA + len(data)}) (i32.const {len(encoded)})")
                data += encoded
        call = f"(call ${name} {' '.join(given)}"
        if function.result == "s32":
            body.append(f"(i32.store (local.get $i) {call}))")
            body.append("(local.set $i (i32.add (local.get $i) (i32.const 4)))")
            continue
        body.append(f"""{call} (i32.const {_RETURNED}))
          (i32.store8 (local.get $i) (i32.load8_u (i32.const {_RETURNED})))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (if (i32.load8_u (i32.const {_RETURNED})) (then
            (local.set $j (i32.load (i32.const {_RETURNED + 8})))
            (i32.store (local.get $i) (local.get $j))
            (memory.copy (i32.add (local.get $i) (i32.const 4))
              (i32.load (i32.const {_RETURNED + 4})) (local.get $j))
            (local.set $i (i32.add (local.get $i) (i32.add (local.get $j) (i32.const 4))))))""")
    body.append(f"(call $respond (i32.const {_OUT}) (i32.sub (local.get $i) (i32.const {_OUT})))")
    names = {name for name, _ in calls} | {"respond"}
    return component("\n".join(body), imports=tuple(sorted(names)), pages=pages, data=bytes(data))


def read_results(calls: list[tuple[str, list[object]]], response: bytes) -> list[object]:
    """What each call of a script gave: a number, bytes, or None."""
    results: list[object] = []
    for name, _ in calls:
        if FUNCTIONS[name].result == "s32":
            results.append(int.from_bytes(response[:4], "little", signed=True))
            response = response[4:]
        elif response[0]:
            size = int.from_bytes(response[1:5], "little")
            results.append(response[5 : 5 + size])
            response = response[5 + size :]
        else:
            results.append(None)
            response = response[1:]
    assert not response
    return results


def _wit(kind: str) -> str:
    """A function's type in WAT: 'func(string, list<u8>) -> option<string>'."""
    inside, _, result = kind.removeprefix("func(").partition(") -> ")
    names = [f'(param "p{place}" {_wat(each)})' for place, each in enumerate(inside.split(", "), 0)]
    return f"(func {' '.join(names) if inside else ''} (result {_wat(result)}))"


def _wat(kind: str) -> str:
    head, bracket, rest = kind.partition("<")
    return f"({head} {_wat(rest[:-1])})" if bracket else kind


def _core(function: object) -> str:
    """The type of the lowered function: texts and lists are two numbers, options a place."""
    count = sum(1 if kind in _NUMBERS else 2 for kind in function.parameters)
    is_number = function.result == "s32"
    parameters = "i32 " * (count + (not is_number))
    return f"(param {parameters})" + ("(result i32)" if is_number else "")
