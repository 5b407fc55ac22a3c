"""Programs that are wrong or too much before anything runs: exports, imports, sizes, versions."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.programs.attack import ProgramAttack
from attacks.programs.modules import PAGE_BYTES, program
from realm.errors import GuestCompileError, GuestContractError, GuestLimitError, GuestTrapError

MEGABYTE = 1 << 20


def custom_section(name: bytes, size: int) -> bytes:
    """A custom section with `size` bytes that mean nothing."""
    body = leb(len(name)) + name + bytes(size)
    return b"\0" + leb(len(body)) + body


def leb(number: int) -> bytes:
    """An unsigned number as the binary format writes it (WebAssembly core, 5.2.2)."""
    written = bytearray()
    while True:
        low, number = number & 0x7F, number >> 7
        written.append(low | (0x80 if number else 0))
        if not number:
            return bytes(written)


def foreign(module: str, name: str, kind: str = "(func)") -> str:
    """A guest that imports what is not offered."""
    return program().replace("(module", f'(module (import "{module}" "{name}" {kind})', 1)


def many_types() -> str:
    """Forty thousand different types: wasmtime compiles something for each."""
    letters = ("i32", "i64")
    types = (
        f"(type (func (param {' '.join(letters[number >> bit & 1] for bit in range(17))})))"
        for number in range(40_000)
    )
    return program(extra="".join(types))


def without(name: str) -> str:
    """A guest that lacks an export."""
    return program(without=(name,))


MODULES: Sequence[ProgramAttack] = (
    ProgramAttack("empty file", GuestCompileError, "end-of-file", lambda: b""),
    ProgramAttack("no module", GuestCompileError, "magic", lambda: b"\x7fELF" + bytes(1000)),
    ProgramAttack("header alone", GuestContractError, "export memory", lambda: b"\0asm\1\0\0\0"),
    ProgramAttack(
        "component", GuestLimitError, "not offered", lambda: b"\0asm\x0d\0\1\0" + bytes(8)
    ),
    ProgramAttack(
        "section longer than the file",
        GuestCompileError,
        "",
        lambda: b"\0asm\1\0\0\0\x01" + leb(2**32 - 1) + b"\0",
    ),
    ProgramAttack(
        "2^32 - 1 functions announced",
        GuestCompileError,
        "",
        lambda: b"\0asm\1\0\0\0\x03\x05" + leb(2**32 - 1),
    ),
    ProgramAttack(
        "custom section of 20 MB",
        GuestLimitError,
        "16777216 are allowed",
        lambda: b"\0asm\1\0\0\0" + custom_section(b"junk", 20 * MEGABYTE),
    ),
    ProgramAttack(
        "custom section of 2 MB and nothing else",
        GuestContractError,
        "export memory",
        lambda: b"\0asm\1\0\0\0" + custom_section(b"name", 2 * MEGABYTE),
    ),
    ProgramAttack(
        "export with a name of 10 MB",
        GuestCompileError,
        "string size out of bounds",
        lambda: (
            b"\0asm\1\0\0\0\x07"
            + leb(10 * MEGABYTE + 8)
            + b"\1"
            + leb(10 * MEGABYTE)
            + b"n" * (10 * MEGABYTE)
            + bytes(3)
        ),
    ),
    ProgramAttack(
        "no memory", GuestContractError, "export memory", lambda: program(memory="(memory 4)")
    ),
    *(
        ProgramAttack(
            f"no {name}", GuestContractError, f"export {name}", lambda name=name: without(name)
        )
        for name in ("realm_abi_version", "realm_alloc", "realm_free", "realm_handle")
    ),
    ProgramAttack(
        "memory export that is a function",
        GuestContractError,
        "export memory",
        lambda: program(memory='(memory 4) (func (export "memory"))'),
    ),
    ProgramAttack(
        "handler with an i64 in a narrow module",
        GuestContractError,
        "export realm_handle",
        lambda: program(
            without=("realm_handle",),
            extra='(func (export "realm_handle") (param i64 i64) (result i32) (i32.const 0))',
        ),
    ),
    ProgramAttack(
        "narrow allocator in a wide module",
        GuestContractError,
        "export realm_alloc",
        lambda: program(
            wide=True,
            without=("realm_alloc",),
            extra='(func (export "realm_alloc") (param i32) (result i32) (i32.const 0))',
        ),
    ),
    ProgramAttack(
        "system interface",
        GuestContractError,
        "only module",
        lambda: foreign("wasi_snapshot_preview1", "fd_write"),
    ),
    ProgramAttack(
        "module without a name", GuestContractError, "only module", lambda: foreign("", "")
    ),
    ProgramAttack(
        "function that is not offered",
        GuestContractError,
        "not offered",
        lambda: foreign("env", "system"),
    ),
    ProgramAttack(
        "memory of the host",
        GuestContractError,
        "cannot be imported",
        lambda: foreign("env", "m", "(global i32)"),
    ),
    ProgramAttack(
        "wrong signature",
        GuestContractError,
        "declared as",
        lambda: foreign("env", "realm_log", "(func (param i64 i64 i64 i64) (result i64))"),
    ),
    ProgramAttack(
        "widths mixed in one import",
        GuestContractError,
        "declared as",
        lambda: foreign("env", "realm_log", "(func (param i32 i32 i64) (result i32))"),
    ),
    ProgramAttack(
        "import with a name of 100 kB",
        GuestContractError,
        "not offered",
        lambda: foreign("env", "realm_" + "x" * 99_000),
    ),
    ProgramAttack(
        "import name with line ends",
        GuestContractError,
        "not offered",
        lambda: foreign("env", "\\0aERROR tenant-b\\0a"),
    ),
    ProgramAttack(
        "another version", GuestContractError, "version 2", lambda: program(version="(i32.const 2)")
    ),
    ProgramAttack(
        "version -1", GuestContractError, "version -1", lambda: program(version="(i32.const -1)")
    ),
    ProgramAttack(
        "4 GB of memory at once",
        GuestLimitError,
        "memory",
        lambda: program(memory='(memory (export "memory") 65536)'),
    ),
    ProgramAttack(
        "2^48 bytes of memory at once",
        GuestLimitError,
        "memory",
        lambda: program(wide=True, memory='(memory (export "memory") i64 4294967296)'),
    ),
    ProgramAttack(
        "more memory than its own limit",
        GuestLimitError,
        "memory",
        lambda: program(memory='(memory (export "memory") 32)'),
    ),
    ProgramAttack(
        "second memory", GuestCompileError, "multiple memories", lambda: program(extra="(memory 1)")
    ),
    ProgramAttack(
        "shared memory",
        GuestCompileError,
        "threads",
        lambda: program(memory='(memory (export "memory") 4 4 shared)'),
    ),
    ProgramAttack(
        "table of 10^9 elements",
        GuestLimitError,
        "",
        lambda: program(extra="(table 1000000000 funcref)"),
    ),
    ProgramAttack(
        "a thousand tables",
        GuestCompileError,
        "tables count",
        lambda: program(extra="(table 1 funcref)" * 1000),
    ),
    ProgramAttack(
        "10^5 globals",
        GuestLimitError,
        "instance size",
        lambda: program(extra="(global i32 (i32.const 0))" * 100_000),
    ),
    ProgramAttack(
        "10^5 functions to compile",
        GuestLimitError,
        "compil",
        lambda: program(extra="(func)" * 100_000),
    ),
    ProgramAttack("40,000 types of functions", GuestLimitError, "compil", many_types),
    ProgramAttack(
        "50,001 locals in one function",
        GuestCompileError,
        "locals",
        lambda: program(extra=f"(func (local {'i64 ' * 50_001}))"),
    ),
    ProgramAttack(
        "jump table of 10^5 places",
        GuestCompileError,
        "br_table",
        lambda: program(extra=f"(func (block (br_table {'0 ' * 100_000} (i32.const 0))))"),
    ),
    ProgramAttack(
        "garbage collected types", GuestCompileError, "gc", lambda: program(extra="(type (struct))")
    ),
    ProgramAttack(
        "data behind the memory",
        GuestTrapError,
        "out of bounds",
        lambda: program(extra=f'(data (ptr.const {4 * PAGE_BYTES - 1}) "ab")'),
    ),
    ProgramAttack(
        "data at the end of the address space",
        GuestTrapError,
        "out of bounds",
        lambda: program(wide=True, extra='(data (ptr.const -1) "ab")'),
    ),
    ProgramAttack(
        "elements behind the table",
        GuestTrapError,
        "out of bounds",
        lambda: program(extra="(table 1 funcref) (elem (i32.const 1) func $start)"),
    ),
)
