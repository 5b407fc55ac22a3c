"""Every attack of programs. To add one, add a row to one of the tables.

A row's maker runs when the attack does; nothing large stands in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from attacks.programs.adapter_attacks import ADAPTERS
from attacks.programs.attack import ProgramAttack
from attacks.programs.growth_attacks import GROWTH
from attacks.programs.handle_attacks import HANDLES
from attacks.programs.loop_attacks import LOOPS
from attacks.programs.module_attacks import MODULES
from attacks.programs.nonsense_attacks import NONSENSE
from attacks.programs.pointer_attacks import POINTERS
from attacks.programs.trap_attacks import FAILURES

ATTACKS: Sequence[ProgramAttack] = (
    *MODULES,
    *LOOPS,
    *GROWTH,
    *FAILURES,
    *HANDLES,
    *NONSENSE,
    *POINTERS,
    *ADAPTERS,
)
