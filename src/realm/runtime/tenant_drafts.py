"""Which model drafts for a tenant's sessions: the configured one, or what a program brought.

A brought draft is the tenant's, not the program's: it outlives the request that stored it, until
another one takes its place or the tenant is let go. No tenant drafts with another's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from realm.errors import DraftMismatchError
from realm.model import DraftModel, StoredModel, match_draft

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from realm.runtime.guest_models import ModelHold


class TenantDrafts:
    """`configure` and `forget` may be called by any thread, the rest by the engine's alone."""

    def __init__(self) -> None:
        self._configured: dict[str, DraftModel] = {}
        self._brought: tuple[StoredModel, ModelHold] | None = None
        self._matched: dict[str, DraftModel | None] = {}  # of the brought one, by target

    def configure(self, target: StoredModel, draft: DraftModel | None) -> None:
        """What drafts for the target unless a program brings another; None for nothing."""
        if draft is None:
            self._configured.pop(target.content_hash, None)
        else:
            self._configured[target.content_hash] = draft

    def forget(self, draft: StoredModel) -> None:
        """It is configured for nothing any more."""
        for target, configured in list(self._configured.items()):
            if configured.stored is draft:
                self._configured.pop(target, None)

    def bring(self, draft: StoredModel, hold: ModelHold, matched: Mapping[str, DraftModel]) -> None:
        """A program's draft, for sessions from now on on every model with its vocabulary.

        hold: keeps it stored; one more is taken. matched: what `match_drafts` found.
        """
        hold.take()
        self.let_go()
        self._brought = draft, hold
        self._matched.update(matched)

    def let_go(self) -> None:
        """Keep nothing that programs brought."""
        brought, self._brought = self._brought, None
        self._matched.clear()
        if brought is not None:
            brought[1].drop()

    def of(self, target: StoredModel) -> DraftModel | None:
        """What drafts for the target's sessions; None for nothing."""
        if self._brought is not None:
            if target.content_hash not in self._matched:
                self._matched[target.content_hash] = _match(target, self._brought[0])
            found = self._matched[target.content_hash]
            if found is not None:
                return found
        return self._configured.get(target.content_hash)


def match_drafts(targets: Iterable[StoredModel], draft: StoredModel) -> dict[str, DraftModel]:
    """The draft for each target that it fits, by the target's content hash.

    Raises DraftMismatchError when it fits none. It reads whole vocabularies: not for the engine's
    thread.
    """
    found: dict[str, DraftModel] = {}
    reason = DraftMismatchError("there is no model to draft for")
    for target in targets:
        try:
            found[target.content_hash] = match_draft(target, draft)
        except DraftMismatchError as error:
            reason = error
    if not found:
        raise reason
    return found


def _match(target: StoredModel, draft: StoredModel) -> DraftModel | None:
    try:
        return match_draft(target, draft)
    except DraftMismatchError:
        return None
