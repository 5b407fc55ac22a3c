"""Has a target answer made-up prompts, many at once, and writes down what it said."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np

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


@dataclass(frozen=True, slots=True)
class Listening:
    """How much is listened to, and how.

    tokens: of all outputs together, at least. answer_tokens: most of one. prompt_tokens: most of
    one; longer ones are left out. at_once: answers computed together. greedy_share: how many of the
    answers are at temperature 0, the others at `temperature`. top: likeliest tokens kept a place.
    """

    tokens: int = 800_000
    answer_tokens: int = 320
    prompt_tokens: int = 512
    at_once: int = 32
    greedy_share: float = 0.6
    temperature: float = 0.8
    top: int = 8
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("tokens", "answer_tokens", "prompt_tokens", "at_once", "top"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.top > MOST_LOGPROBS:
            raise ConfigError(f"top must be at most {MOST_LOGPROBS}, not {self.top}")
        if not 0.0 <= self.greedy_share <= 1.0:
            raise ConfigError(f"greedy_share must be in 0..1, not {self.greedy_share}")
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

    def take(self, output: StepOutput) -> int:
        """Note the next token; it is returned."""
        (token,), (found,) = output.token_ids, output.logprobs
        self.tokens.append(token)
        self.top_tokens.append([each for each, _ in found.top])
        self.top_logprobs.append([logprob for _, logprob in found.top])
        return token

    def text(self) -> Text:
        return Text(
            np.array(self.tokens, np.int32),
            self.prompt_count,
            np.array(self.top_tokens, np.int32),
            np.array(self.top_logprobs, np.float16),
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

    def run(self, report: Callable[[int], None]) -> Corpus:
        running: dict[int, _Answer] = {}
        ended: list[Text] = []
        count = told = 0
        while count < self._options.tokens:
            while len(running) < self._options.at_once:
                self._begin(running)
            for output in self._engine.step():
                if output.error is not None:
                    raise output.error
                answer = running[output.sequence]
                if not self._goes_on(answer, answer.take(output)):
                    del running[output.sequence]
                    self._engine.close(output.sequence)
                    ended.append(self._finish(answer))
                    count += len(ended[-1].output)
                else:
                    self._engine.sample(output.sequence, answer.sampling)
            if len(ended) > told:
                told = len(ended)
                report(count)
        return join_texts(ended)

    def _begin(self, running: dict[int, _Answer]) -> None:
        messages, tokens = self._prompt()
        greedy = self._random.random() < self._options.greedy_share
        self._seed += 1
        sampling = SamplingParameters(
            temperature=0.0 if greedy else self._options.temperature,
            top_p=1.0,
            seed=self._seed,
            logprobs=self._options.top,
        )
        number = self._engine.open(self._model.stored, _OWNER)
        self._engine.append(number, tokens)
        self._engine.sample(number, sampling)
        running[number] = _Answer(messages, list(tokens), len(tokens), sampling)

    def _prompt(self) -> tuple[list[Message], list[int]]:
        most = min(self._options.prompt_tokens, self._model.context_length // 2)
        for _ in range(1000):
            messages = self._maker.next()
            if self._model.template is None:
                tokens = self._model.encode_prompt(messages[-1]["content"])
            else:
                tokens = self._model.encode_chat(messages)
            if 0 < len(tokens) <= most:
                return messages, tokens
        raise ConfigError(f"no prompt has at most {most} tokens")

    def _goes_on(self, answer: _Answer, token: int) -> bool:
        count = len(answer.tokens) - answer.prompt_count
        if token in self._ends or count >= self._limit:
            return False
        return count % _LOOKS_EVERY != 0 or not is_loop(answer.tokens[answer.prompt_count :])

    def _finish(self, answer: _Answer) -> Text:
        text = answer.text()
        complete = int(text.output[-1]) in self._ends
        if complete and len(text.output) >= _REMEMBERED_TOKENS and len(answer.messages) == 1:
            said = self._model.stored.tokenizer.decode(text.output.tolist(), skip_special=True)
            self._maker.remember(answer.messages[0]["content"], said.strip())
        return text
