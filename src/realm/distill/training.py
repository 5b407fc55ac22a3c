"""Trains a draft on what its target said, with torch on the processor.

What is learned at each place of an output is how likely the target found its likeliest tokens
(Hinton et al., 2015), not only the one that was drawn there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from realm.distill.beginning import Weights
from realm.distill.corpus import Text
from realm.distill.head_loss import HeadLoss
from realm.distill.network import DraftNetwork
from realm.distill.vocabulary import DraftVocabulary
from realm.errors import ConfigError

_WARM_UP = 0.03
_NEAR_BATCHES = 16
_DECAY = 0.01
_BETAS = (0.9, 0.98)


@dataclass(frozen=True, slots=True)
class Training:
    """How a draft is trained.

    passes: over all texts. batch_tokens: prompts and outputs of a step, at most. precision:
    'bfloat16' multiplies in it and keeps float32 weights; 'float32' does all in it.
    """

    passes: float = 5.0
    batch_tokens: int = 2048
    learning_rate: float = 2e-3
    precision: str = "bfloat16"
    threads: int = 2
    seed: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.passes) and self.passes > 0):
            raise ConfigError(f"passes must be a number > 0, not {self.passes}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ConfigError(f"a learning rate must be a number > 0, not {self.learning_rate}")
        if self.batch_tokens < 1 or self.threads < 1:
            raise ConfigError("batch_tokens and threads must be at least 1")
        if self.precision not in ("bfloat16", "float32"):
            raise ConfigError(f"precision is bfloat16 or float32, not {self.precision!r}")


@dataclass(frozen=True, slots=True, eq=False)
class _Lesson:
    """A text in the draft's tokens. rows: where an output's token is foretold; wanted: int64
    [rows, n] and shares: float32, the same shape, what is foretold there."""

    tokens: torch.Tensor
    first_row: int
    wanted: torch.Tensor
    shares: torch.Tensor


Report = Callable[[int, int, float, float], None]
"""Step, steps, mean loss in nats, and share of places where the draft's likeliest is right."""


def train(
    network: DraftNetwork,
    vocabulary: DraftVocabulary,
    texts: Sequence[Text],
    options: Training,
    report: Report,
) -> Weights:
    """The trained weights: the same numbers for the same arguments, threads and machine."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    lessons = [_lesson(text, vocabulary) for text in texts]
    batches = list(_all_batches(lessons, options))
    weights = list(network.weights.values())
    matrices = [each for each in weights if each.ndim > 1]
    vectors = [each for each in weights if each.ndim == 1]
    groups: list[dict[str, Any]] = [
        {"params": matrices},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(
        groups, lr=options.learning_rate, betas=_BETAS, weight_decay=_DECAY, fused=True
    )
    for step, batch in enumerate(batches):
        rate = options.learning_rate * _rate((step + 1) / len(batches))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, right = _loss(network, batch, options.precision)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        report(step + 1, len(batches), loss.item(), right.item())
    return network.numbers()


def _loss(
    network: DraftNetwork, batch: Sequence[_Lesson], precision: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy in nats, a mean of all places, and the share of places that are right."""
    product = torch.bfloat16 if precision == "bfloat16" else torch.float32
    tokens = torch.nn.utils.rnn.pad_sequence([each.tokens for each in batch], batch_first=True)
    with torch.autocast("cpu", product, enabled=product is not torch.float32):
        hidden = network.hidden(tokens)
    rows_of = [
        hidden[index, each.first_row : each.first_row + len(each.wanted)]
        for index, each in enumerate(batch)
    ]
    wanted = torch.cat([each.wanted for each in batch])
    shares = torch.cat([each.shares for each in batch])
    rows = torch.cat(rows_of).float()
    found: tuple[torch.Tensor, torch.Tensor] = HeadLoss.apply(  # type: ignore[no-untyped-call]
        rows, network.head, wanted, shares, product
    )
    return found


def _lesson(text: Text, vocabulary: DraftVocabulary) -> _Lesson:
    logprobs = text.top_logprobs.astype(np.float32)
    shares = np.exp(logprobs)
    shares /= shares.sum(1, keepdims=True)
    return _Lesson(
        torch.from_numpy(vocabulary.from_target[text.tokens[:-1]].astype(np.int64)),
        text.output_begin - 1,
        torch.from_numpy(vocabulary.from_target[text.top_tokens].astype(np.int64)),
        torch.from_numpy(shares),
    )


def _all_batches(lessons: Sequence[_Lesson], options: Training) -> Iterator[list[_Lesson]]:
    """As many passes as are wanted, each in another order; at least one batch."""
    generator = torch.Generator().manual_seed(options.seed)
    whole, part = divmod(options.passes, 1.0)
    for _ in range(int(whole)):
        yield from _batches(lessons, options.batch_tokens, generator)
    if part:
        found = list(_batches(lessons, options.batch_tokens, generator))
        yield from found[: max(1, round(part * len(found)))]


def _batches(
    lessons: Sequence[_Lesson], most: int, generator: torch.Generator
) -> Iterator[list[_Lesson]]:
    """All lessons once, those of similar lengths together."""
    order = torch.randperm(len(lessons), generator=generator).tolist()
    mean = sum(len(each.tokens) for each in lessons) / len(lessons)
    span = max(1, round(_NEAR_BATCHES * most / mean))
    batches: list[list[_Lesson]] = []
    for begin in range(0, len(order), span):
        near = [lessons[each] for each in order[begin : begin + span]]
        near.sort(key=lambda lesson: len(lesson.tokens))
        batch: list[_Lesson] = []
        for each in near:
            if batch and (len(batch) + 1) * len(each.tokens) > most:
                batches.append(batch)
                batch = []
            batch.append(each)
        batches.append(batch)
    for index in torch.randperm(len(batches), generator=generator).tolist():
        yield batches[index]


def _rate(done: float) -> float:
    """Of the highest, after this share of all steps: a short warm-up, then a cosine."""
    if done < _WARM_UP:
        return done / _WARM_UP
    return 0.02 + 0.49 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))
