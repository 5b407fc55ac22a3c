"""The base of adapters out of a model file's header; no weights are read."""

from __future__ import annotations

from pathlib import Path

from realm.gguf import open_gguf
from realm.lora import AdapterBase
from realm.model.adapter_base import adapter_base
from realm.model.architectures import read_hyperparameters


def read_adapter_base(path: Path) -> AdapterBase:
    """Raises GGUFError's and ModelError's kinds for a file that holds no decoder."""
    with open_gguf(path) as file:
        return adapter_base(read_hyperparameters(file), file)
