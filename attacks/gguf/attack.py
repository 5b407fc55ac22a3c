"""What an attack is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from realm.errors import RealmError

HUGE = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Attack:
    """make: the file's bytes. error: exactly this class. place: must stand in its message."""

    name: str
    error: type[RealmError]
    place: str
    make: Callable[[], bytes]
