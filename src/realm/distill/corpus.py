"""What a target said, kept for training: prompts, outputs, and what it had in mind meanwhile."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from realm.errors import ConfigError
from realm.model import feature_parts


@dataclass(frozen=True, slots=True, eq=False)
class Text:
    """One prompt and its output.

    tokens: int32, prompt and output. output_begin: where the output begins. top_tokens: int32
    [output, n], the target's likeliest tokens at each place, the likeliest first;
    top_logprobs: float16, the same shape, nats. features: float16 [output, parts, hidden], what the
    head and some layers multiplied there. greedy: each token was the likeliest.
    """

    tokens: NDArray[np.int32]
    output_begin: int
    top_tokens: NDArray[np.int32]
    top_logprobs: NDArray[np.float16]
    features: NDArray[np.float16]
    greedy: bool

    @property
    def output(self) -> NDArray[np.int32]:
        """The output's tokens."""
        return self.tokens[self.output_begin :]


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Many texts in a few arrays.

    tokens: int32, all texts one behind the other. begins: int64 [texts + 1], where each begins.
    output_begins: int64 [texts], where its output begins. top_tokens, top_logprobs, features: rows
    of all outputs, one behind the other. greedy: bool [texts]. feature_layers: int32 [parts - 1],
    of which layers features are, behind the head's.
    """

    tokens: NDArray[np.int32]
    begins: NDArray[np.int64]
    output_begins: NDArray[np.int64]
    top_tokens: NDArray[np.int32]
    top_logprobs: NDArray[np.float16]
    features: NDArray[np.float16]
    greedy: NDArray[np.bool_]
    feature_layers: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.greedy)

    @property
    def output_count(self) -> int:
        """Tokens of all outputs."""
        return len(self.top_tokens)

    def texts(self) -> Iterator[Text]:
        """Each text, in order."""
        row = 0
        for index in range(len(self)):
            begin, end = int(self.begins[index]), int(self.begins[index + 1])
            output_begin = int(self.output_begins[index])
            rows = slice(row, row + end - output_begin)
            row = rows.stop
            yield Text(
                self.tokens[begin:end],
                output_begin - begin,
                self.top_tokens[rows],
                self.top_logprobs[rows],
                self.features[rows],
                bool(self.greedy[index]),
            )

    def with_layers(self, layers: Sequence[int]) -> Corpus:
        """The same with the features of these layers alone. Raises ConfigError for others."""
        known = self.feature_layers.tolist()
        missing = [each for each in layers if each not in known]
        if missing:
            raise ConfigError(f"the corpus has no features of layers {missing}, it has {known}")
        if list(layers) == known:
            return self
        chosen = self.features[:, feature_parts(layers, known)]
        return replace(self, features=chosen, feature_layers=np.array(layers, np.int32))

    def save(self, path: Path) -> None:
        """As one .npz file."""
        with path.open("wb") as file:
            np.savez(file, **{each.name: getattr(self, each.name) for each in fields(self)})


def join_texts(texts: list[Text], feature_layers: Sequence[int]) -> Corpus:
    """Raises ConfigError for none."""
    if not texts:
        raise ConfigError("the target has said nothing to learn from")
    lengths = np.array([len(each.tokens) for each in texts], np.int64)
    begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return Corpus(
        tokens=np.concatenate([each.tokens for each in texts]),
        begins=begins,
        output_begins=begins[:-1] + np.array([each.output_begin for each in texts], np.int64),
        top_tokens=np.concatenate([each.top_tokens for each in texts]),
        top_logprobs=np.concatenate([each.top_logprobs for each in texts]),
        features=np.concatenate([each.features for each in texts]),
        greedy=np.array([each.greedy for each in texts], np.bool_),
        feature_layers=np.array(feature_layers, np.int32),
    )


def load_corpus(path: Path, vocabulary_size: int) -> Corpus:
    """What `save` wrote. Raises ConfigError for anything else, or tokens out of the vocabulary."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            corpus = Corpus(**{each.name: file[each.name] for each in fields(Corpus)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path} is no saved corpus: {error}") from None
    _check(corpus, path, vocabulary_size)
    return corpus


def _check(corpus: Corpus, path: Path, vocabulary_size: int) -> None:
    begins, output_begins = corpus.begins, corpus.output_begins
    count = len(corpus.greedy)
    fits = (
        count > 0
        and begins.shape == (count + 1,)
        and output_begins.shape == (count,)
        and corpus.tokens.ndim == 1
        and corpus.top_tokens.ndim == 2
        and corpus.top_tokens.shape == corpus.top_logprobs.shape
        and corpus.top_tokens.shape[1] > 0
        and begins[0] == 0
        and begins[-1] == len(corpus.tokens)
        and bool((output_begins > begins[:-1]).all())
        and bool((output_begins < begins[1:]).all())
        and int((begins[1:] - output_begins).sum()) == len(corpus.top_tokens)
        and corpus.feature_layers.ndim == 1
        and corpus.features.ndim == 3
        and corpus.features.shape[:2] == (len(corpus.top_tokens), 1 + len(corpus.feature_layers))
    )
    if not fits:
        raise ConfigError(f"{path}: the arrays of the corpus do not fit each other")
    for ids in (corpus.tokens, corpus.top_tokens):
        if ids.dtype != np.int32 or ids.min() < 0 or ids.max() >= vocabulary_size:
            raise ConfigError(f"{path}: tokens that are none of the target's")
