"""A model that drafts for another: same vocabulary, or a few of its tokens.

A draft may know only the most frequent tokens of its target, which makes its embedding and head
small. Its file then says which: `realm.draft.token_ids`, the target's id of each of its tokens (-1
for the one that stands for all others), and `realm.draft.vocabulary`, the target's vocabulary as
`vocabulary_digest` gives it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from realm.errors import DraftMismatchError, ModelError
from realm.model.stored import StoredModel

TOKEN_IDS_KEY = "realm.draft.token_ids"  # noqa: S105 - of a vocabulary
VOCABULARY_KEY = "realm.draft.vocabulary"
OTHER_TOKEN = -1
_TOKENS_KEY = "tokenizer.ggml.tokens"
_DIGESTS: WeakKeyDictionary[StoredModel, str] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, eq=False)
class DraftModel:
    """A stored model as the draft of a target.

    from_target: int32 [target's vocabulary], the draft's token for each of the target's; to_target:
    int32 [draft's vocabulary], OTHER_TOKEN where there is none. None for both when the tokens are
    the same.
    """

    stored: StoredModel
    from_target: NDArray[np.int32] | None = None
    to_target: NDArray[np.int32] | None = None

    def tokens_of(self, token_ids: Sequence[int]) -> list[int]:
        """The target's tokens as the draft's."""
        if self.from_target is None:
            return list(token_ids)
        found: list[int] = self.from_target[np.asarray(token_ids, np.int64)].tolist()
        return found

    def target_token(self, token: int) -> int:
        """A token of the draft as one of the target's; OTHER_TOKEN for none."""
        return token if self.to_target is None else int(self.to_target[token])


def check_speaks(model: StoredModel) -> None:
    """Raises ModelError for a model that says nothing by itself, but drafts for another one."""
    if model.hyperparameters.reads_features:
        raise ModelError(f"{model.name}: can only draft for another model, whose features it reads")


def vocabulary_digest(model: StoredModel) -> str:
    """What two models with the same tokens share: SHA-256 of the tokens in order, hexadecimal."""
    if model not in _DIGESTS:
        _DIGESTS[model] = _digest(model)
    return _DIGESTS[model]


def _digest(model: StoredModel) -> str:
    tokens = model.metadata.get(_TOKENS_KEY)
    if not isinstance(tokens, Sequence):
        raise DraftMismatchError(f"{model.name}: the file has no {_TOKENS_KEY}")
    text = "\0".join(str(each) for each in tokens)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def match_draft(target: StoredModel, draft: StoredModel) -> DraftModel:
    """The draft, ready for the target. Raises DraftMismatchError that says what does not fit."""
    size = target.hyperparameters.vocabulary_size
    _check_features(target, draft)
    if TOKEN_IDS_KEY not in draft.metadata:
        other = draft.hyperparameters.vocabulary_size
        if other != size:
            raise DraftMismatchError(
                f"{draft.name}: {other} tokens, {target.name} has {size}: not the same vocabulary"
            )
        if vocabulary_digest(draft) != vocabulary_digest(target):
            raise DraftMismatchError(f"{draft.name}: other tokens than {target.name} has")
        return DraftModel(draft)
    if draft.metadata.get(VOCABULARY_KEY) != vocabulary_digest(target):
        raise DraftMismatchError(f"{draft.name}: made for another vocabulary than {target.name}'s")
    to_target = _read_token_ids(draft, size)
    others = np.flatnonzero(to_target == OTHER_TOKEN)
    if len(others) != 1:
        raise DraftMismatchError(
            f"{draft.name}: {TOKEN_IDS_KEY} has {len(others)} tokens for all others, not one"
        )
    from_target = np.full(size, others[0], np.int32)
    known = np.flatnonzero(to_target != OTHER_TOKEN)
    from_target[to_target[known]] = known
    return DraftModel(draft, from_target, to_target)


def _check_features(target: StoredModel, draft: StoredModel) -> None:
    needed, given = draft.hyperparameters.hidden_size, target.hyperparameters.hidden_size
    if draft.hyperparameters.reads_features and needed != given:
        raise DraftMismatchError(
            f"{draft.name}: reads features of {needed} numbers, {target.name} has {given}"
        )
    last, count = (
        max(draft.hyperparameters.feature_layers, default=0),
        target.hyperparameters.layer_count,
    )
    if last >= count:
        raise DraftMismatchError(
            f"{draft.name}: reads features of layer {last}, {target.name} has {count} layers"
        )


def _read_token_ids(draft: StoredModel, target_size: int) -> NDArray[np.int32]:
    count = draft.hyperparameters.vocabulary_size
    try:
        ids = np.asarray(draft.metadata[TOKEN_IDS_KEY], np.int64)
    except (TypeError, ValueError, OverflowError):
        raise DraftMismatchError(f"{draft.name}: {TOKEN_IDS_KEY} is no list of tokens") from None
    if ids.shape != (count,):
        raise DraftMismatchError(f"{draft.name}: {TOKEN_IDS_KEY} does not have {count} entries")
    wrong = np.flatnonzero((ids < OTHER_TOKEN) | (ids >= target_size))
    if wrong.size:
        at = int(wrong[0])
        raise DraftMismatchError(f"{draft.name}: {TOKEN_IDS_KEY}[{at}] is {ids[at]}, no token")
    known = ids[ids != OTHER_TOKEN]
    if len(np.unique(known)) != len(known):
        raise DraftMismatchError(f"{draft.name}: {TOKEN_IDS_KEY} names a token twice")
    return ids.astype(np.int32)
