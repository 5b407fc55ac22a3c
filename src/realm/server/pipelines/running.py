"""Runs a pipeline: each step as soon as those that it needs have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from realm.errors import PipelineError, PipelineStepError, RateLimitError, RealmError
from realm.server.pipelines.definition import Expression, Pipeline, Step
from realm.server.pipelines.expression import MOST_CHARACTERS, evaluate, text_of
from realm.server.pipelines.input_values import checked_inputs

STEPS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class StepAnswer:
    """output: text, or a vector. model: which one gave it. finish_reason: None for a vector."""

    output: str | list[float]
    model: str
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str | None


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step with its answer. seconds: from its start to its end."""

    step_id: str
    answer: StepAnswer
    seconds: float

    def document(self) -> dict[str, Any]:
        """As clients get it."""
        answer = self.answer
        return {
            "id": self.step_id,
            "output": answer.output,
            "model": answer.model,
            "finish_reason": answer.finish_reason,
            "usage": _usage(answer.prompt_tokens, answer.completion_tokens),
            "time_ms": round(self.seconds * 1e3, 3),
        }


@dataclass(frozen=True, slots=True)
class PipelineResult:
    """output: as the definition says; a value, or several by name. steps: in its order."""

    pipeline_id: str
    output: Any
    steps: tuple[StepResult, ...]
    seconds: float

    @property
    def prompt_tokens(self) -> int:
        """Of all steps."""
        return sum(step.answer.prompt_tokens for step in self.steps)

    @property
    def completion_tokens(self) -> int:
        """Of all steps."""
        return sum(step.answer.completion_tokens for step in self.steps)

    def document(self) -> dict[str, Any]:
        """As clients get it."""
        return {
            "pipeline": self.pipeline_id,
            "output": self.output,
            "steps": [step.document() for step in self.steps],
            "usage": _usage(self.prompt_tokens, self.completion_tokens),
            "time_ms": round(self.seconds * 1e3, 3),
        }


Ask = Callable[[Step, str, str | None], Awaitable[StepAnswer]]
"""Does one step: (the step, its text, its system message). Raises RealmError."""


async def run_pipeline(
    pipeline: Pipeline, given: Any, ask: Ask, now: Callable[[], float]
) -> PipelineResult:
    """given: the inputs, as for `checked_inputs`. now: seconds, monotonic.

    Raises PipelineInputError; PipelineStepError for the first step that failed, after all others
    were cancelled.
    """
    started = now()
    run = _Run(pipeline, checked_inputs(pipeline, given), ask, now)
    try:
        async with asyncio.TaskGroup() as group:
            for step in pipeline.steps:
                group.create_task(run.do(step))
    except* RealmError as errors:
        failure = _first(errors)
    else:
        output = run.output(pipeline.output)
        steps = tuple(run.results[step.step_id] for step in pipeline.steps)
        return PipelineResult(pipeline.pipeline_id, output, steps, now() - started)
    raise failure


class _Run:
    """One run's state; everything on one event loop."""

    def __init__(
        self, pipeline: Pipeline, inputs: dict[str, Any], ask: Ask, now: Callable[[], float]
    ) -> None:
        self.results: dict[str, StepResult] = {}
        self._inputs = inputs
        self._outputs: dict[str, Any] = {}
        self._ask = ask
        self._now = now
        self._ended = {step.step_id: asyncio.Event() for step in pipeline.steps}
        self._running = 0
        self._ends = 0
        self._change = asyncio.Condition()

    async def do(self, step: Step) -> None:
        for needed in step.needs:
            await self._ended[needed].wait()
        try:
            text = self._text(step.value)
            system = None if step.system is None else self._text(step.system)
            started = self._now()
            answer = await self._admitted(step, text, system)
        except PipelineStepError:
            raise
        except RealmError as error:
            raise PipelineStepError(step.step_id, error) from error
        self.results[step.step_id] = StepResult(step.step_id, answer, self._now() - started)
        self._outputs[step.step_id] = answer.output
        self._ended[step.step_id].set()

    def output(self, wanted: Expression | dict[str, Expression]) -> Any:
        if isinstance(wanted, dict):
            return {name: self.output(each) for name, each in wanted.items()}
        return evaluate(wanted, self._inputs, self._outputs)

    def _text(self, expression: Expression) -> str:
        text = text_of(evaluate(expression, self._inputs, self._outputs))
        if len(text) > MOST_CHARACTERS:
            raise PipelineError(f"its text is longer than {MOST_CHARACTERS} characters")
        return text

    async def _admitted(self, step: Step, text: str, system: str | None) -> StepAnswer:
        """A quota that refuses a step beside another of this run refuses it for now only: it
        comes again when one of them has ended."""
        while True:
            async with self._change:
                await self._change.wait_for(lambda: self._running < STEPS_AT_ONCE)
                self._running += 1
            try:
                answer = await self._ask(step, text, system)
                self._ends += 1
                return answer
            except RateLimitError:
                if self._running == 1:
                    raise
            finally:
                self._running -= 1
                ends = self._ends
                async with self._change:
                    self._change.notify_all()
            async with self._change:
                await self._change.wait_for(partial(self._has_place_since, ends))

    def _has_place_since(self, ends: int) -> bool:
        return self._ends > ends or self._running == 0


def _usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def _first(errors: ExceptionGroup[RealmError]) -> RealmError:
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, RealmError)
    return found
