"""Every attack on the reader of GGUF files. To add one, add a row to one of the tables.

A row's maker runs when the attack does; nothing large stands in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from attacks.gguf.attack import Attack
from attacks.gguf.front_attacks import FRONT
from attacks.gguf.metadata_attacks import METADATA
from attacks.gguf.tensor_attacks import TENSORS

ATTACKS: Sequence[Attack] = (*FRONT, *METADATA, *TENSORS)
