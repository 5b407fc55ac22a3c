"""Which row of the kernel table runs."""

from __future__ import annotations

import os

from realm.errors import ConfigError
from realm.kernels._native import best_instruction_set, can_run

INSTRUCTION_SETS = ("scalar", "avx2", "avx512")


def instruction_set(requested: str | None = None) -> str:
    """What kernels to use: those of `requested`, else of REALM_ISA, else the processor's best.

    Raises ConfigError when the name is unknown or this processor cannot run it.
    """
    name = requested or os.environ.get("REALM_ISA", "")
    if not name:
        return best_instruction_set()
    if name not in INSTRUCTION_SETS:
        raise ConfigError(f"instruction set {name!r} is not one of {', '.join(INSTRUCTION_SETS)}")
    if not can_run(name):
        raise ConfigError(f"this processor cannot run the instruction set {name!r}")
    return name
