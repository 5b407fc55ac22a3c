"""What a step samples, as the native core takes it, and the log probabilities it gives back."""

from __future__ import annotations

from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from realm.config import SamplingParameters
from realm.engine.output import TokenLogprobs
from realm.engine.sequence import Mask, Sequence
from realm.errors import ConstraintError, ModelError, RealmError

NO_TOKEN, NOTHING_ALLOWED, NOT_A_NUMBER = -1, -2, -3  # native/core/sampler.h

_NO_FLOATS = (0.0,) * 7
_NO_INTEGERS = (0, 0, 0, 0, 0, 0, 0, 0, 0, -1, -1)


class DrawArguments(TypedDict, total=False):
    """Keywords of `Transformer.step`; shapes as it documents them."""

    sampling_floats: NDArray[np.float32]
    sampling_integers: NDArray[np.int64]
    history: NDArray[np.int32]
    bias_tokens: NDArray[np.int32]
    bias_values: NDArray[np.float32]
    allowed: NDArray[np.uint32]
    logprobs: NDArray[np.float32]
    logprob_tokens: NDArray[np.int32]


class AnswerRow(NamedTuple):
    """A row whose logits a step gives: that of a sequence's last token, or of a drafted one.

    drafted: the tokens behind the sequence's own, this row's the last of them. allowed: the mask.
    """

    sequence: Sequence
    drafted: tuple[int, ...] = ()
    allowed: Mask | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """arguments: empty when nothing is sampled. counts: alternatives of each row, -1 for none."""

    arguments: DrawArguments
    counts: tuple[int, ...]

    def logprobs(self, row: int) -> tuple[TokenLogprobs, ...]:
        """Of the token that the step drew in a row; empty when nobody asked."""
        count = self.counts[row % len(self.counts)] if self.counts else -1
        if count < 0:
            return ()
        values = self.arguments["logprobs"][row, : count + 1].tolist()
        tokens = self.arguments["logprob_tokens"][row, : count + 1].tolist()
        top = tuple(
            (token, value)
            for token, value in zip(tokens[1:], values[1:], strict=True)
            if token >= 0
        )
        return (TokenLogprobs(tokens[0], values[0], top),)


def later_draws(following: NDArray[np.int32] | None) -> list[list[int]]:
    """What the steps drew that followed one, of each that came: a token a row.

    following: int32 [steps, rows], as the native step has filled it; None when none was to come.
    """
    return [] if following is None else [row for row in following.tolist() if row[0] != NO_TOKEN]


def draw_error(code: int) -> RealmError | None:
    """Why there is no token; None for a token and for a row that was not sampled."""
    if code == NOTHING_ALLOWED:
        return ConstraintError("no token is allowed here")
    if code == NOT_A_NUMBER:
        return ModelError("the model's logits are not finite numbers")
    return None


def build_draws(rows: Items[AnswerRow], step_count: int = 1) -> Draws:
    """The policies of a step's answers, in the order of its logits.

    The rows of one sequence stand together, that of its own last token first. step_count: with the
    steps that follow at once; their rows' log probabilities stand behind those of the first.
    """
    if not any(isinstance(row.sequence.want, SamplingParameters) for row in rows):
        return Draws({}, ())
    floats: list[tuple[float, ...]] = []
    integers: list[tuple[int, ...]] = []
    histories: list[int] = []
    biases: list[tuple[int, float]] = []
    masks: list[NDArray[np.uint32]] = []
    history = 0
    for sequence, drafted, allowed in rows:
        want = sequence.want
        if not isinstance(want, SamplingParameters):
            floats.append(_NO_FLOATS)
            integers.append(_NO_INTEGERS)
            continue
        bias = len(biases)
        if not drafted:
            history = len(histories)
        if _looks_back(want):
            histories += drafted[-1:] or sequence.tokens
        biases += want.logit_bias
        mask = -1
        if allowed is not None:
            mask = len(masks)
            masks.append(allowed)
        floats.append(_floats(want))
        integers.append(
            (
                1,
                want.top_k,
                want.seed - 2**64 if want.seed >= 2**63 else want.seed,  # the same 64 bits
                len(sequence.tokens) + len(drafted),
                history,
                len(histories) - history,
                sequence.prompt_count,
                bias,
                len(biases) - bias,
                mask,
                -1 if want.logprobs is None else want.logprobs,
            )
        )
    arguments: DrawArguments = {
        "sampling_floats": np.array(floats, np.float32),
        "sampling_integers": np.array(integers, np.int64),
        "history": np.array(histories, np.int32),
    }
    if biases:
        arguments["bias_tokens"] = np.array([token for token, _ in biases], np.int32)
        arguments["bias_values"] = np.array([value for _, value in biases], np.float32)
    if masks:
        arguments["allowed"] = np.stack(masks)
    counts = tuple(row[-1] for row in integers)
    if max(counts) >= 0:
        shape = (step_count * len(rows), 1 + max(counts))
        arguments["logprobs"] = np.zeros(shape, np.float32)
        arguments["logprob_tokens"] = np.zeros(shape, np.int32)
    return Draws(arguments, counts)


def _floats(want: SamplingParameters) -> tuple[float, ...]:
    return (
        want.temperature,
        want.top_p,
        want.min_p,
        want.typical_p,
        want.repetition_penalty,
        want.presence_penalty,
        want.frequency_penalty,
    )


def _looks_back(want: SamplingParameters) -> bool:
    return (
        want.repetition_penalty != 1.0
        or want.presence_penalty != 0.0
        or want.frequency_penalty != 0.0
    )
