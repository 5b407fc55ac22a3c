"""What an attack is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from realm.errors import AdapterError


@dataclass(frozen=True, slots=True)
class Attack:
    """make: writes the adapter into an empty folder; the path that is loaded.

    error: exactly this class. place: must stand in its message.
    """

    name: str
    error: type[AdapterError]
    place: str
    make: Callable[[Path], Path]
