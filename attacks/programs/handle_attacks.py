"""Programs that guess handles, or use them after their end, with every function that takes one."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.programs.attack import ProgramAttack
from attacks.programs.modules import PREFILLED, call, program, require
from attacks.programs.plausible import arguments_of
from realm.errors import GuestError
from realm.runtime.contract import HOST_FUNCTIONS, ErrorCode, HostFunction

GUESSES = (0, -1, 2, 3, 77, 2**16 + 1, 2**31 - 1, -(2**31), 0x5EED)
_HANDLES = ("model_id", "session")
# Their model_id is a wish, not a handle.
_WISHES = ("realm_store_model", "realm_store_draft_model")


def handle_of(function: HostFunction) -> str | None:
    """The parameter of a function that is a handle."""
    if function.name in _WISHES:
        return None
    return next((p.name for p in function.parameters if p.name in _HANDLES), None)


def guess(function: HostFunction, handle: str) -> str:
    """Every wrong handle with all else plausible: each must be refused as no handle."""
    tries = (
        require(-ErrorCode.HANDLE, call(function.name, *arguments_of(function, **{handle: number})))
        for number in GUESSES
    )
    return program(f"{PREFILLED} {''.join(tries)} (i32.const {-ErrorCode.HANDLE})")


def use_after_end(function: HostFunction, handle: str) -> str:
    """A call with a handle that was closed before."""
    end = "realm_session_close" if handle == "session" else "realm_remove_model"
    again = call(function.name, *arguments_of(function))
    return program(f"{PREFILLED} {require(0, call(end, 1))} {again}")


HANDLES: Sequence[ProgramAttack] = tuple(
    ProgramAttack(
        f"{what}: {function.name}",
        GuestError,
        "REALM_E_HANDLE",
        lambda make=make, function=function, handle=handle: make(function, handle),
    )
    for function in HOST_FUNCTIONS
    for handle in (handle_of(function),)
    if handle is not None
    for what, make in (("handle guessing", guess), ("use after the end", use_after_end))
)
