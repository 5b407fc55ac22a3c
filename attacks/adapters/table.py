"""Every attack on the readers of adapters. To add one, add a row to one of the tables."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.adapters.attack import Attack
from attacks.adapters.config_attacks import CONFIG
from attacks.adapters.path_attacks import PATHS
from attacks.adapters.safetensors_attacks import SAFETENSORS
from attacks.adapters.tensor_attacks import GGUF, TENSORS

ATTACKS: Sequence[Attack] = (*PATHS, *CONFIG, *SAFETENSORS, *TENSORS, *GGUF)
