"""Trains a draft on what its target said, with torch on the processor.

What is learned at each place of an output is how likely the target found its likeliest tokens
(Hinton et al., 2015), not only the one that was drawn there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from realm.distill.beginning import Weights
from realm.distill.corpus import Text
from realm.distill.head_loss import HeadLoss
from realm.distill.network import DraftNetwork
from realm.distill.vocabulary import DraftVocabulary
from realm.errors import ConfigError

PRECISIONS = ("auto", "bfloat16", "float32")
_WARM_UP = 0.03
_DECAY = 0.01
_BETAS = (0.9, 0.98)
# Of each token of a draft: at how many of the places it is taught, and what its loss counts. Later
# ones matter only where the first ones are right, and cost as much to teach.
_SHARES = (1.0, 0.5, 0.25, 0.25)
_SCALED_FROM = 10_000  # tokens, from which the sizes of features are told
_MOST_SCALE = np.float32(1000.0)
_WEIGHTS = (1.0, 0.8, 0.6, 0.4)


@dataclass(frozen=True, slots=True)
class Training:
    """How a draft is trained.

    passes: over all outputs. batch_tokens: of outputs, in a step. precision:
    'bfloat16' multiplies in it and keeps float32 weights; 'float32' does all in it; 'auto' takes
    the former where the processor multiplies bfloat16.
    """

    passes: float = 2.0
    batch_tokens: int = 1024
    learning_rate: float = 2e-3
    precision: str = "auto"
    threads: int = 2
    seed: int = 1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.passes) and self.passes > 0):
            raise ConfigError(f"passes must be a number > 0, not {self.passes}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ConfigError(f"a learning rate must be a number > 0, not {self.learning_rate}")
        if self.batch_tokens < 1 or self.threads < 1:
            raise ConfigError("batch_tokens and threads must be at least 1")
        if self.precision not in PRECISIONS:
            names = ", ".join(PRECISIONS)
            raise ConfigError(f"precision is one of {names}, not {self.precision!r}")


@dataclass(frozen=True, slots=True, eq=False)
class _Lessons:
    """The tokens of all outputs, one behind the other, as the draft's.

    tokens: int64 [tokens], and some more. left: int64 [tokens], how many follow in the same output.
    features: float16 [tokens, parts, hidden], what the target's head and some of its layers
    multiplied to draw each. scales: float32 [parts], which make all parts as large as the head's:
    the weights of small ones would learn slowly. wanted: int64 [tokens, n] and shares: float32, the
    same shape, what is foretold there.
    """

    tokens: torch.Tensor
    left: torch.Tensor
    features: torch.Tensor
    scales: torch.Tensor
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
    lessons = _lessons(texts, vocabulary)
    _divide(network, lessons.scales)
    product = _product_type(options.precision)
    places = torch.nonzero(lessons.left)[:, 0]
    step_count = max(1, round(options.passes * len(places) / options.batch_tokens))
    batches = itertools.islice(_batches(places, options), step_count)
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
    for step, batch in enumerate(batches, 1):
        rate = options.learning_rate * _rate(step / step_count)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, right = _loss(network, lessons, batch, product)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        report(step, step_count, loss.item(), right.item())
    _divide(network, 1.0 / lessons.scales)
    return network.numbers()


def _product_type(precision: str) -> torch.dtype:
    """Without instructions for bfloat16 it would take twenty times as long as float32."""
    if precision == "auto":
        known = torch.cpu.get_capabilities()
        has_bfloat16 = known.get("avx512_bf16") or known.get("amx_bf16")
        precision = "bfloat16" if has_bfloat16 else "float32"
    return torch.bfloat16 if precision == "bfloat16" else torch.float32


def _divide(network: DraftNetwork, scales: torch.Tensor) -> None:
    """The weights of features, by those of their parts."""
    with torch.no_grad():
        for name, scale in zip(network.shape.feature_names, scales, strict=True):
            network.weights[name] /= scale


def _loss(
    network: DraftNetwork, lessons: _Lessons, places: torch.Tensor, product: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy in nats, that of later tokens weighing less, and the share of first tokens that
    are right: means of all places."""
    counts = [max(1, round(share * len(places))) for share in _SHARES]
    tokens = lessons.tokens[places[:, None] + torch.arange(len(_SHARES))]
    with torch.autocast("cpu", product, enabled=product is not torch.float32):
        features = lessons.features[places].float() * lessons.scales[:, None]
        found = network.chain(features, tokens, counts)
    total, first = torch.zeros(()), torch.zeros(())
    for ahead, (rows, weight) in enumerate(zip(found, _WEIGHTS, strict=True), 1):
        began = places[: len(rows)]
        is_said = lessons.left[began] >= ahead
        at = began[is_said] + ahead
        loss, right = HeadLoss.apply(  # type: ignore[no-untyped-call]
            rows[is_said].float(), network.head, lessons.wanted[at], lessons.shares[at], product
        )
        total = total + weight * loss
        first = right if ahead == 1 else first
    return total / sum(_WEIGHTS), first


def _lessons(texts: Sequence[Text], vocabulary: DraftVocabulary) -> _Lessons:
    shares = np.exp(np.concatenate([each.top_logprobs for each in texts]).astype(np.float32))
    shares /= shares.sum(1, keepdims=True)
    own = vocabulary.from_target
    features = np.concatenate([each.features for each in texts])
    tokens = np.concatenate([own[each.output] for each in texts])
    left = np.concatenate([np.arange(len(each.output))[::-1] for each in texts])
    wanted = own[np.concatenate([each.top_tokens for each in texts])]
    return _Lessons(
        torch.from_numpy(np.pad(tokens, (0, len(_SHARES))).astype(np.int64)),
        torch.from_numpy(left.astype(np.int64)),
        torch.from_numpy(features),
        _scales(features),
        torch.from_numpy(wanted.astype(np.int64)),
        torch.from_numpy(shares),
    )


def _scales(features: NDArray[np.float16]) -> torch.Tensor:
    some = features[:: max(1, len(features) // _SCALED_FROM)].astype(np.float32)
    sizes = np.sqrt(np.square(some).mean((0, 2)))
    ratios = sizes[0] / np.maximum(sizes, np.finfo(np.float32).tiny)
    return torch.from_numpy(np.clip(ratios, 1.0 / _MOST_SCALE, _MOST_SCALE))


def _batches(places: torch.Tensor, options: Training) -> Iterator[torch.Tensor]:
    """Pass after pass over all places, each in another order."""
    generator = torch.Generator().manual_seed(options.seed)
    while True:
        order = places[torch.randperm(len(places), generator=generator)]
        yield from torch.split(order, options.batch_tokens)


def _rate(done: float) -> float:
    """Of the highest, after this share of all steps: a short warm-up, then a cosine."""
    if done < _WARM_UP:
        return done / _WARM_UP
    return 0.02 + 0.49 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP)))
