"""Which of a target's tokens its draft knows: those that it says and hears most often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realm.distill.corpus import Text
from realm.errors import ConfigError
from realm.model import DraftModel, StoredModel
from realm.model.draft_model import OTHER_TOKEN
from realm.model.tokenizer.vocabulary import PREFIX, TokenKind, read_strings, read_vocabulary

_ALWAYS = (TokenKind.UNKNOWN, TokenKind.BYTE)


@dataclass(frozen=True, slots=True, eq=False)
class DraftVocabulary:
    """The draft's tokens.

    to_target: int32 [draft's tokens], in the target's order; the last one, OTHER_TOKEN, stands for
    all others. from_target: int32 [target's tokens].
    """

    to_target: NDArray[np.int32]
    from_target: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.to_target)


def choose_tokens(model: StoredModel, texts: Sequence[Text], size: int) -> DraftVocabulary:
    """The `size` - 1 most frequent tokens of the outputs, and one for all others.

    Those of the prompts fill up; the tokens that begin and end texts are always there. Raises
    ConfigError when the size does not hold these.
    """
    count = model.hyperparameters.vocabulary_size
    outputs = np.concatenate([each.output for each in texts])
    prompts = np.concatenate([each.tokens[: each.output_begin] for each in texts])
    said = np.bincount(outputs, minlength=count)
    heard = np.bincount(prompts, minlength=count)
    # An output's token comes before every one that only prompts have.
    worth = said * (int(heard.max()) + 1) + heard
    needed = _needed_tokens(model, (said + heard) > 0)
    if len(needed) >= size:
        raise ConfigError(f"{size} tokens do not hold the {len(needed)} that must be there")
    order = np.lexsort((np.arange(count), -worth))
    rest = order[(worth[order] > 0) & ~np.isin(order, needed)]
    kept = np.sort(np.concatenate([needed, rest[: size - 1 - len(needed)]])).astype(np.int32)
    from_target = np.full(count, len(kept), np.int32)
    from_target[kept] = np.arange(len(kept), dtype=np.int32)
    return DraftVocabulary(np.append(kept, np.int32(OTHER_TOKEN)), from_target)


def tokens_of(draft: DraftModel) -> DraftVocabulary:
    """Those of a draft that there is. Raises ConfigError for one with all tokens of its target."""
    if draft.to_target is None or draft.from_target is None:
        raise ConfigError(f"{draft.stored.name} has all of its target's tokens")
    return DraftVocabulary(draft.to_target, draft.from_target)


def _needed_tokens(model: StoredModel, seen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """What ends a text or begins one, bytes, control tokens that were seen, and one merge."""
    vocabulary = read_vocabulary(model.metadata)
    named = {vocabulary.bos_id, vocabulary.eos_id, vocabulary.unknown_id}
    needed = {each for each in named if each is not None} | vocabulary.end_of_generation_ids
    for token, kind in enumerate(vocabulary.kinds):
        if kind in _ALWAYS or (kind == TokenKind.CONTROL and seen[token]):
            needed.add(token)
    return np.array(sorted(needed | _first_merge(model)), np.int64)


def _first_merge(model: StoredModel) -> set[int]:
    """The tokens of one merge, for a tokenizer that merges: it cannot be read without any."""
    if PREFIX + "merges" not in model.metadata:
        return set()
    left, _, right = read_strings(model.metadata, "merges")[0].partition(" ")
    ids = {text: token for token, text in enumerate(read_strings(model.metadata, "tokens"))}
    return {ids[text] for text in (left, right, left + right)}
