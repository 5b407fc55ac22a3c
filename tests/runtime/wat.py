"""Small guests in WASM text, for what no honest program does."""

from __future__ import annotations

from realm.runtime.contract import HOST_FUNCTIONS

IMPORTS = {function.name: function for function in HOST_FUNCTIONS}


def declare(name: str, *, wide: bool = False) -> str:
    """The import of one host function, as a wasm32 or wasm64 guest declares it."""
    address = "i64" if wide else "i32"
    types = [address if p.letters == "iI" else "i32" for p in IMPORTS[name].parameters]
    parameters = f"(param {' '.join(types)})" if types else ""
    return f'(import "env" "{name}" (func ${name} {parameters} (result i32)))'


def guest(
    handle: str = "(i32.const 0)",
    *,
    imports: tuple[str, ...] = (),
    memory: str = '(memory (export "memory") 2)',
    alloc: str = "(i32.const 1024)",
    version: str = "(i32.const 1)",
    start: str = "",
    extra: str = "",
    without: str = "",
) -> str:
    """A whole wasm32 guest; `handle` is the body of realm_handle, `without` an export to leave out.

    The request lies at 1024. $i is a local for loops.
    """

    def export(name: str) -> str:
        return "" if name == without else f'(export "{name}")'

    declarations = "\n".join(declare(name) for name in imports)
    return f"""(module
      {declarations}
      {memory}
      {extra}
      (func {export("realm_abi_version")} (result i32) {version})
      (func {export("realm_alloc")} (param i32) (result i32) {alloc})
      (func {export("realm_free")} (param i32 i32))
      (func $start {start})
      (start $start)
      (func $handle {export("realm_handle")} (param i32 i32) (result i32) (local $i i32)
        {handle}))"""


def wide_guest(handle: str, *, imports: tuple[str, ...] = ()) -> str:
    """A whole wasm64 guest."""
    declarations = "\n".join(declare(name, wide=True) for name in imports)
    return f"""(module
      {declarations}
      (memory (export "memory") i64 2)
      (func (export "realm_abi_version") (result i32) (i32.const 1))
      (func (export "realm_alloc") (param i64) (result i64) (i64.const 1024))
      (func (export "realm_free") (param i64 i64))
      (func (export "realm_handle") (param i64 i64) (result i32) {handle}))"""


FOREVER = "(loop $again (br $again))"
