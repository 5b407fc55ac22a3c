"""What a program declares, beside what the contract offers and asks: everything wrong at once.

For those who write programs. It runs nothing; `GuestHost.compile` decides by the same table.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realm.errors import GuestContractError
from realm.runtime.component_contract import component_problems, is_component
from realm.runtime.contract import (
    GUEST_EXPORTS,
    HOST_FUNCTIONS,
    Declaration,
    export_problems,
    function_numbers,
)

if TYPE_CHECKING:
    from realm.runtime.program import GuestHost

_PAGE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class ProgramReport:
    """size_bytes: of the module. address_bits: 32 or 64.

    imports: module and name; exports: names. memory_bytes: of the exported memory at the start, and
    at most as declared (None: as far as its limit lets it grow). problems: why it cannot run;
    none: it can. is_component: whether it is one, and no module.
    """

    size_bytes: int
    address_bits: int
    imports: tuple[str, ...]
    exports: tuple[str, ...]
    memory_bytes: int
    memory_maximum_bytes: int | None
    problems: tuple[str, ...]
    is_component: bool = False


def report_program(host: GuestHost, wasm: bytes) -> ProgramReport:
    """Raises GuestCompileError or GuestLimitError for what is no module, or too much of one."""
    if is_component(wasm):
        return _report_component(host, wasm)
    program = host.inspect(wasm)
    minimum, maximum = program.memory_pages
    exports = {name for _, name, _, _, _ in program.exports}
    problems = [
        *_import_problems(program.imports),
        *(
            _with_likely(problem, exports)
            for problem in export_problems(program.exports, memory_is_64=program.memory_is_64)
        ),
    ]
    return ProgramReport(
        size_bytes=len(wasm),
        address_bits=64 if program.memory_is_64 else 32,
        imports=tuple(f"{module}.{name}" for module, name, _, _, _ in program.imports),
        exports=tuple(name for _, name, _, _, _ in program.exports),
        memory_bytes=minimum * _PAGE_BYTES,
        memory_maximum_bytes=None if maximum is None else maximum * _PAGE_BYTES,
        problems=tuple(problems),
    )


def _report_component(host: GuestHost, wasm: bytes) -> ProgramReport:
    """Its memories are its own business: none is exported."""
    imports, exports = host.component_tier().inspect(wasm).declarations()
    return ProgramReport(
        size_bytes=len(wasm),
        address_bits=32,
        imports=tuple(f"{instance}.{name}" for instance, name, _ in imports if name),
        exports=tuple(name for instance, name, _ in exports if name and not instance),
        memory_bytes=0,
        memory_maximum_bytes=None,
        problems=tuple(component_problems(imports, exports)),
        is_component=True,
    )


def _import_problems(imports: list[Declaration]) -> Iterator[str]:
    offered = [function.name for function in HOST_FUNCTIONS]
    for declaration in imports:
        try:
            function_numbers([declaration])
        except GuestContractError as error:
            name = declaration[1]
            likely = difflib.get_close_matches(name, offered, 1) if name not in offered else []
            yield f"{error} (is {likely[0]} meant?)" if likely else str(error)


def _with_likely(problem: str, exports: set[str]) -> str:
    """For a missing export, the name among those that are there that may be it, misspelt."""
    name = problem.removeprefix("export ").partition(":")[0]
    others = sorted(exports - {"memory", *(name for name, _, _ in GUEST_EXPORTS)})
    likely = difflib.get_close_matches(name, others, 1) if name not in exports else []
    return f"{problem} (there is {likely[0]})" if likely else problem
