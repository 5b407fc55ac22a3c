"""Pointers and lengths at every edge, for every host function of the contract, in both widths.

Walks the contract's table: a function that is added there is attacked here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attacks.programs.attack import ProgramAttack
from attacks.programs.modules import MEMORY_BYTES, PREFILLED, call, program
from attacks.programs.plausible import arguments_of
from realm.errors import GuestError
from realm.runtime.contract import HOST_FUNCTIONS, ErrorCode, HostFunction

_TOP = {False: 2**32, True: 2**64}


def edges(function: HostFunction, *, wide: bool) -> Iterator[list[int]]:
    """Arguments of which one pointer, one length, or both together lie out of bounds."""
    usual = arguments_of(function)
    rows = function.parameters
    for place, parameter in enumerate(rows):
        if parameter.kind == "pointer":
            pointer = usual[place]
            follows = place + 1 < len(rows) and rows[place + 1].kind == "length"
            length = usual[place + 1] if follows else 2
            for value in _pointers(pointer, length, wide=wide):
                yield _changed(usual, {place: value})
            if follows:
                for value in _pointers(pointer, length, wide=wide):
                    yield _changed(usual, {place: value, place + 1: _TOP[wide] - value})
        elif parameter.kind == "length":
            for value in _lengths(wide=wide):
                yield _changed(usual, {place: value})


def _pointers(pointer: int, length: int, *, wide: bool) -> list[int]:
    """Addresses at which `length` bytes do not lie in the memory."""
    top = _TOP[wide]
    found = [MEMORY_BYTES - length + 1, MEMORY_BYTES - 1, MEMORY_BYTES, MEMORY_BYTES + 1]
    found += [2**31 - 1, 2**31, 2**32 - length, 2**32 - 1, top - length, top - 1]
    if wide:
        found += [2**32, 2**32 + pointer, 2**63 - 1, 2**63, 2**63 + pointer, 2**62]
    return found


def _lengths(*, wide: bool) -> list[int]:
    """Lengths, in bytes or in words of four, that no range in the memory has."""
    found = [MEMORY_BYTES + 1, 2**30, 2**30 + 1, 2**31 - 1, 2**31, 2**32 - 1]
    if wide:
        found += [2**32, 2**32 + 1, 2**48, 2**62, 2**62 + 1, 2**63 - 1, 2**63, 2**64 - 1]
    return found


def _changed(arguments: list[int], values: dict[int, int]) -> list[int]:
    return [values.get(place, value) for place, value in enumerate(arguments)]


def walk(function: HostFunction, *, wide: bool) -> str:
    """Calls the function with every edge.

    Answers POINTER when each was refused, and not as a fault of the host; else -1000 and on from
    there, by the number of the edge.
    """
    tries = "".join(
        f"(local.set $code {call(function.name, *row)})"
        f" (if (i32.or (i32.ge_s (local.get $code) (i32.const 0))"
        f" (i32.eq (local.get $code) (i32.const {-ErrorCode.INTERNAL})))"
        f" (then (return (i32.const {-1000 - place}))))"
        for place, row in enumerate(edges(function, wide=wide))
    )
    return program(f"{PREFILLED} {tries} (i32.const {-ErrorCode.POINTER})", wide=wide)


POINTERS: Sequence[ProgramAttack] = tuple(
    ProgramAttack(
        f"pointers at every edge: {function.name} (wasm{64 if wide else 32})",
        GuestError,
        "REALM_E_POINTER",
        lambda function=function, wide=wide: walk(function, wide=wide),
        {"compute_seconds": 5.0},
    )
    for function in HOST_FUNCTIONS
    for wide in (False, True)
    if any(parameter.kind in ("pointer", "length") for parameter in function.parameters)
)
