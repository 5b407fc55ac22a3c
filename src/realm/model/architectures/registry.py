"""The architectures that can run, by the name in `general.architecture`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from realm.errors import ArchitectureError
from realm.gguf import GGUFFile
from realm.model.architectures.gemma2 import read_gemma2
from realm.model.architectures.gemma3 import read_gemma3
from realm.model.architectures.granite import read_granite
from realm.model.architectures.llama import read_llama
from realm.model.architectures.phi3 import read_phi3
from realm.model.architectures.qwen2 import read_qwen2
from realm.model.architectures.qwen3 import read_qwen3
from realm.model.architectures.realm_draft import ARCHITECTURE as REALM_DRAFT
from realm.model.architectures.realm_draft import read_realm_draft
from realm.model.architectures.smollm3 import read_smollm3
from realm.model.architectures.source import MetadataSource
from realm.model.hyperparameters import Hyperparameters

ARCHITECTURES: Mapping[str, Callable[[MetadataSource], Hyperparameters]] = MappingProxyType(
    {
        "gemma2": read_gemma2,
        "gemma3": read_gemma3,
        "granite": read_granite,
        "llama": read_llama,
        "phi3": read_phi3,
        "qwen2": read_qwen2,
        "qwen3": read_qwen3,
        "smollm3": read_smollm3,
        REALM_DRAFT: read_realm_draft,
    }
)


def read_hyperparameters(file: GGUFFile) -> Hyperparameters:
    """The decoder that the file's metadata describes.

    Raises ArchitectureError when the architecture is unknown or its sizes do not fit together, and
    GGUFMetadataError when a key is missing or of the wrong type.
    """
    name = file.require("general.architecture", str)
    try:
        read = ARCHITECTURES[name]
    except KeyError:
        known = ", ".join(sorted(ARCHITECTURES))
        text = f"{file.path}: architecture {name!r} is not supported (supported: {known})"
        raise ArchitectureError(text) from None
    return read(MetadataSource(file, name))
