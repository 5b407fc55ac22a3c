"""Which model a tenant's runtime is built on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from realm.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model file and the name that a tenant knows it by.

    model_path: a GGUF file on this machine.
    model_id: the name in `RuntimeManager.models`; the path as given when left out.
    draft_model_path, draft_model_id: the draft for speculative decoding.
    """

    model_path: str | Path
    model_id: str | None = None
    draft_model_path: str | Path | None = None
    draft_model_id: str | None = None

    def __post_init__(self) -> None:
        if not str(self.model_path):
            raise ConfigError("model_path is empty")
        if self.draft_model_id is not None and self.draft_model_path is None:
            raise ConfigError("draft_model_id is set, but draft_model_path is not")

    @property
    def name(self) -> str:
        """The name the model is listed under."""
        return self.model_id if self.model_id is not None else str(self.model_path)
