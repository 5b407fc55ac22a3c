"""The draft models at work for one target, each once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from realm.engine.drafter import Drafter
from realm.engine.feature_drafts import FeatureDrafts
from realm.engine.model_drafts import ModelDrafts
from realm.engine.sequence import Sequence
from realm.kernels import Team
from realm.model import DraftModel, StoredModel


class Drafters:
    """By content. context_length: most tokens of a sequence of the target. cache_bytes: of a
    draft's cache."""

    def __init__(self, target: StoredModel, context_length: int, cache_bytes: int) -> None:
        self._target = target
        self._context_length = context_length
        self._cache_bytes = cache_bytes
        self._by_hash: dict[str, Drafter] = {}

    def open(self, draft: DraftModel, team: Team, clock: Callable[[], float]) -> Drafter:
        """What drafts with this model, for every sequence that wants it. Raises CapacityError when
        its cache does not hold one page."""
        content_hash = draft.stored.content_hash
        if content_hash not in self._by_hash:
            self._by_hash[content_hash] = self._make(draft, team, clock)
        return self._by_hash[content_hash]

    def forget(self, model: StoredModel, sequences: Iterable[Sequence]) -> bool:
        """No further sequence will draft with this model; whether none does by now. sequences: all
        of the target's."""
        drafter = self._by_hash.get(model.content_hash)
        if drafter is not None:
            drafter.is_wanted = False
            self.drop_unwanted(sequences)
        return model.content_hash not in self._by_hash

    def drop_unwanted(self, sequences: Iterable[Sequence]) -> None:
        """Frees the caches of drafts that no sequence has and none will have."""
        used = {each.drafter for each in sequences}
        self._by_hash = {
            name: each for name, each in self._by_hash.items() if each.is_wanted or each in used
        }

    def _make(self, draft: DraftModel, team: Team, clock: Callable[[], float]) -> Drafter:
        if draft.stored.hyperparameters.reads_features:
            return FeatureDrafts(draft, self._target, team, clock)
        length, size = self._context_length, self._cache_bytes
        return ModelDrafts(draft, self._target, team, length, size, clock)
