"""What an attack of a program is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from attacks.programs.modules import program
from realm.errors import RealmError
from realm.runtime import GuestLimits

GROUND_LIMITS = GuestLimits(
    memory_bytes=1 << 20,
    compute_seconds=0.05,
    wall_seconds=20.0,
    sessions=4,
    models=4,
    text_bytes=64 << 10,
    output_bytes=64 << 10,
    response_bytes=64 << 10,
    log_bytes=4 << 10,
    random_bytes=4 << 10,
)


@dataclass(frozen=True, slots=True)
class ProgramAttack:
    """One hostile program and how it must end.

    make: the module as WASM text, or as bytes. error: exactly this class; None when the host must
    shrug: the program ends by itself with an empty answer. place: must stand in the message.
    limits: what differs from GROUND_LIMITS.
    """

    name: str
    error: type[RealmError] | None
    place: str
    make: Callable[[], str | bytes]
    limits: Mapping[str, float] = field(default_factory=dict)


def handler(
    name: str, error: type[RealmError] | None, place: str, *pieces: str, **limits: float
) -> ProgramAttack:
    """An attack by the body of realm_handle, whose pieces are these."""
    return ProgramAttack(name, error, place, lambda: program(" ".join(pieces)), limits)


def both(
    name: str, error: type[RealmError] | None, place: str, **pieces: str
) -> tuple[ProgramAttack, ProgramAttack]:
    """An attack as a narrow and as a wide program; `pieces` as `program` takes them."""
    narrow = ProgramAttack(f"{name} (wasm32)", error, place, lambda: program(**pieces))
    wide = ProgramAttack(f"{name} (wasm64)", error, place, lambda: program(**pieces, wide=True))
    return narrow, wide
