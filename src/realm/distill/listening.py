"""Has a target answer prompts, many at once, and writes down what it said and had in mind.

Some prompts are made up from forms. Others the target says itself: whoever has learnt to answer
users also knows how they speak, so it goes on behind the words with which a user's turn begins (Xu
et al., 2024). They are about far more than any list of subjects.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realm.config import EngineConfig, SamplingParameters, SpeculativeConfig
from realm.config.generation import MOST_LOGPROBS
from realm.distill.corpus import Corpus, Text, join_texts
from realm.distill.prompts import Message, PromptMaker
from realm.engine import Engine, StepOutput
from realm.errors import ConfigError
from realm.model import StoredModel
from realm.runtime.hosted_model import HostedModel

_OWNER = "distill"
_REMEMBERED_TOKENS = 40
_LOOP_TOKENS = 63
_LOOKS_EVERY = 16
_ASKING_TEMPERATURE, _ASKING_TOP_P = 0.9, 0.98
_LEAST_QUESTION_TOKENS, _QUESTION_TOKENS = 4, 200


@dataclass(frozen=True, slots=True)
class Listening:
    """How much is listened to, and how.

    tokens: of all outputs together, at least. answer_tokens: most of one. prompt_tokens: most of
    one; longer ones are left out. at_once: answers computed together. own_share: how many of the
    prompts the target says itself, if it has a chat template. greedy_share: how many of the answers
    are at temperature 0, the others at `temperature`. top: likeliest tokens kept a place.
    feature_layers: layers of which features are kept, besides the head's.
    """

    tokens: int = 2_000_000
    answer_tokens: int = 320
    prompt_tokens: int = 512
    at_once: int = 64
    own_share: float = 0.6
    greedy_share: float = 0.6
    temperature: float = 0.8
    top: int = 8
    feature_layers: tuple[int, ...] = ()
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("tokens", "answer_tokens", "prompt_tokens", "at_once", "top"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.top > MOST_LOGPROBS:
            raise ConfigError(f"top must be at most {MOST_LOGPROBS}, not {self.top}")
        for name in ("greedy_share", "own_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} must be in 0..1, not {getattr(self, name)}")
        if not (math.isfinite(self.temperature) and self.temperature >= 0.0):
            raise ConfigError(f"temperature must be a number >= 0, not {self.temperature}")


@dataclass(slots=True)
class _Answer:
    """An answer on its way. messages: what was asked. tokens: prompt and output so far."""

    messages: list[Message]
    tokens: list[int]
    prompt_count: int
    sampling: SamplingParameters
    top_tokens: list[list[int]] = field(default_factory=list)
    top_logprobs: list[list[float]] = field(default_factory=list)
    features: list[NDArray[np.float16]] = field(default_factory=list)

    def take(self, output: StepOutput, feature: NDArray[np.float32] | None) -> int:
        """Note the next token; it is returned."""
        assert feature is not None
        (token,), (found,) = output.token_ids, output.logprobs
        self.tokens.append(token)
        self.top_tokens.append([each for each, _ in found.top])
        self.top_logprobs.append([logprob for _, logprob in found.top])
        self.features.append(feature.astype(np.float16))
        return token

    @property
    def output(self) -> list[int]:
        return self.tokens[self.prompt_count :]

    def text(self) -> Text:
        return Text(
            np.array(self.tokens, np.int32),
            self.prompt_count,
            np.array(self.top_tokens, np.int32),
            np.array(self.top_logprobs, np.float16),
            np.stack(self.features),
            self.sampling.temperature == 0.0,
        )


def listen(
    model: StoredModel, options: Listening, threads: int, report: Callable[[int], None]
) -> Corpus:
    """The target's answers, in the order in which they ended; the same for the same options.

    report: told the number of output tokens whenever answers have ended. Raises ConfigError when
    no prompt fits the model.
    """
    return _Listener(model, options, threads).run(report)


def is_loop(tokens: Sequence[int]) -> bool:
    """Whether a text's end is one short phrase again and again: nothing is learned from more."""
    end = tokens[-_LOOP_TOKENS:]
    if len(end) < _LOOP_TOKENS:
        return False
    return any(end[period:] == end[:-period] for period in range(1, _LOOP_TOKENS // 3 + 1))


class _Question(NamedTuple):
    """A prompt that the target is saying."""

    sampling: SamplingParameters
    tokens: list[int]


def _opening_of_users(model: HostedModel) -> list[int]:
    """What stands before all that a user says first; nothing without a chat template."""
    if model.template is None:
        return []
    one, other = (model.encode_chat([{"role": "user", "content": each}]) for each in ("Why", "42"))
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return [token for token, _ in same]


class _Listener:
    def __init__(self, model: StoredModel, options: Listening, threads: int) -> None:
        self._model = HostedModel(_OWNER, model, 0.0)
        self._options = options
        self._random = Random(options.seed)  # noqa: S311  (nothing secret)
        self._maker = PromptMaker(self._random)
        self._engine = Engine(
            EngineConfig(threads=threads, speculation=SpeculativeConfig(draft_k=0))
        )
        self._limit = min(options.answer_tokens, model.hyperparameters.context_length // 2)
        self._ends = model.tokenizer.end_of_generation_ids
        self._seed = options.seed << 32
        self._most_prompt = min(options.prompt_tokens, model.hyperparameters.context_length // 2)
        self._opening = _opening_of_users(self._model)
        self._questions: dict[int, _Question] = {}
        self._asked: list[tuple[list[Message], list[int]]] = []
        self._answers: dict[int, _Answer] = {}

    def run(self, report: Callable[[int], None]) -> Corpus:
        ended: list[Text] = []
        count = told = 0
        while count < self._options.tokens:
            while len(self._answers) + len(self._questions) < self._options.at_once:
                self._begin()
            for output in self._engine.step():
                if output.error is not None:
                    raise output.error
                if output.sequence in self._questions:
                    self._go_on_asking(output)
                    continue
                answer = self._answers[output.sequence]
                token = answer.take(output, self._engine.feature(output.sequence))
                if self._goes_on(answer, token):
                    self._engine.sample(output.sequence, answer.sampling)
                else:
                    del self._answers[output.sequence]
                    self._engine.close(output.sequence)
                    ended.append(self._finish(answer))
                    count += len(ended[-1].output)
            if len(ended) > told:
                told = len(ended)
                report(count)
        return join_texts(ended, self._options.feature_layers)

    def _begin(self) -> None:
        if self._asked:
            self._answer(*self._asked.pop())
        elif self._opening and self._random.random() < self._options.own_share:
            self._ask()
        else:
            self._answer(*self._prompt())

    def _answer(self, messages: list[Message], tokens: list[int]) -> None:
        greedy = self._random.random() < self._options.greedy_share
        sampling = SamplingParameters(
            temperature=0.0 if greedy else self._options.temperature,
            top_p=1.0,
            seed=self._next_seed(),
            logprobs=self._options.top,
        )
        layers = self._options.feature_layers
        number = self._engine.open(self._model.stored, _OWNER, feature_layers=layers)
        self._engine.append(number, tokens)
        self._engine.sample(number, sampling)
        self._answers[number] = _Answer(messages, list(tokens), len(tokens), sampling)

    def _ask(self) -> None:
        """The target says a prompt."""
        sampling = SamplingParameters(
            temperature=_ASKING_TEMPERATURE, top_p=_ASKING_TOP_P, seed=self._next_seed()
        )
        number = self._engine.open(self._model.stored, _OWNER)
        self._engine.append(number, self._opening)
        self._engine.sample(number, sampling)
        self._questions[number] = _Question(sampling, [])

    def _go_on_asking(self, output: StepOutput) -> None:
        question = self._questions[output.sequence]
        token = output.token_ids[0]
        if token not in self._ends and len(question.tokens) < _QUESTION_TOKENS:
            question.tokens.append(token)
            self._engine.sample(output.sequence, question.sampling)
            return
        del self._questions[output.sequence]
        self._engine.close(output.sequence)
        if token in self._ends and len(question.tokens) >= _LEAST_QUESTION_TOKENS:
            said = self._model.stored.tokenizer.decode(question.tokens, skip_special=True)
            messages = [{"role": "user", "content": said}]
            tokens = self._model.encode_chat(messages)
            if len(tokens) <= self._most_prompt:
                self._asked.append((messages, tokens))

    def _next_seed(self) -> int:
        self._seed += 1
        return self._seed

    def _prompt(self) -> tuple[list[Message], list[int]]:
        for _ in range(1000):
            messages = self._maker.next()
            if self._model.template is None:
                tokens = self._model.encode_prompt(messages[-1]["content"])
            else:
                tokens = self._model.encode_chat(messages)
            if 0 < len(tokens) <= self._most_prompt:
                return messages, tokens
        raise ConfigError(f"no prompt has at most {self._most_prompt} tokens")

    def _goes_on(self, answer: _Answer, token: int) -> bool:
        count = len(answer.tokens) - answer.prompt_count
        if token in self._ends or count >= self._limit:
            return False
        return count % _LOOKS_EVERY != 0 or not is_loop(answer.output)

    def _finish(self, answer: _Answer) -> Text:
        text = answer.text()
        complete = int(text.output[-1]) in self._ends
        if complete and len(text.output) >= _REMEMBERED_TOKENS and len(answer.messages) == 1:
            said = self._model.stored.tokenizer.decode(text.output.tolist(), skip_special=True)
            self._maker.remember(answer.messages[0]["content"], said.strip())
        return text
