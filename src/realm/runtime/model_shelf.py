"""The models of a manager by the names they were asked for, each loaded once.

Models stay; drafts stay until `release_draft`, unless they are models as well.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from realm.config import CachePrecision, ModelConfig
from realm.errors import ConfigError
from realm.model import DraftModel, ModelStorage, StoredModel, check_speaks, match_draft
from realm.runtime.hosted_model import HostedModel
from realm.runtime.tenant_drafts import match_drafts


class ModelShelf:
    """Any thread may use it. stored: by name, for whoever wants to look."""

    def __init__(self, storage: ModelStorage, cache_precision: CachePrecision) -> None:
        self.stored: dict[str, StoredModel] = {}
        self._storage = storage
        self._cache_precision = cache_precision
        self._lock = threading.Lock()
        self._hosted: dict[str, HostedModel] = {}
        self._drafts: dict[str, StoredModel] = {}

    def load(self, config: ModelConfig) -> HostedModel:
        """What `config` names, without its draft.

        Raises GGUFError, ModelError or TokenizerError, ConfigError for a name that means another
        model already.
        """
        started = time.perf_counter()
        stored = self._storage.load(config.model_path)
        check_speaks(stored)
        seconds = time.perf_counter() - started
        with self._lock:
            if self.stored.setdefault(config.name, stored) is not stored:
                raise ConfigError(f"the name {config.name!r} means another model already")
            if config.name not in self._hosted:
                self._hosted[config.name] = HostedModel(
                    config.name, stored, seconds, self._cache_precision
                )
            return self._hosted[config.name]

    def load_draft(self, config: ModelConfig, target: StoredModel) -> DraftModel | None:
        """The draft that `config` names; None when it names none. Raises DraftMismatchError too."""
        if config.draft_model_path is None:
            return None
        draft = ModelConfig(config.draft_model_path, config.draft_model_id)
        return match_draft(target, self._draft(draft))

    def release_draft(self, name: str) -> StoredModel | None:
        """The name means no draft any more; the model when it is no longer in memory by that."""
        with self._lock:
            draft = self._drafts.pop(name, None)
            if draft is not None and name not in self._hosted:
                del self.stored[name]
        return draft if draft is not None and self._storage.release(draft) else None

    def _draft(self, config: ModelConfig) -> StoredModel:
        draft, name = self._storage.hold(config.model_path), config.name
        with self._lock:
            present = self.stored.setdefault(name, draft)
            if present is draft and name not in self._drafts:
                self._drafts[name] = draft
                return draft
        self._storage.release(draft)  # the name has its hold already
        if present is not draft:
            raise ConfigError(f"the name {name!r} means another model already")
        return draft

    def check_draft(self, path: str | Path) -> None:
        """Raises what `load` does, and DraftMismatchError for what drafts for none of the models;
        nothing of it stays in memory."""
        targets = list(self.stored.values())
        draft = self._storage.hold(path)
        try:
            match_drafts(targets, draft)
        finally:
            self._storage.release(draft)
