"""A pipeline run in this process, all of its steps by one model."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import TYPE_CHECKING, Any

from realm.cli.context import Context
from realm.cli.model_file import find_model_file
from realm.config import EngineConfig, ModelConfig
from realm.errors import NotSupportedError
from realm.server.pipelines import Pipeline, Step, StepAnswer, run_pipeline
from realm.server.text_options import DEFAULT_MAX_TOKENS, TextOptions

if TYPE_CHECKING:
    from realm.runtime import RuntimeManager

_TENANT = "command-line"


def run_here(
    pipeline: Pipeline, inputs: dict[str, Any], arguments: argparse.Namespace, context: Context
) -> dict[str, Any]:
    """The result, as a server gives it. Raises NotSupportedError for steps with adapters."""
    for step in pipeline.steps:
        adapter = step.options.adapter if step.options is not None else None
        if adapter is not None or (step.model is not None and ":" in step.model):
            raise NotSupportedError(f"step {step.step_id!r} has an adapter: only a server can")
    path = find_model_file(arguments, context)
    with context.open_runtime(EngineConfig(threads=arguments.threads)) as runtime:
        steps = _Steps(runtime, ModelConfig(path), arguments.model)
        result = asyncio.run(run_pipeline(pipeline, inputs, steps.ask, time.monotonic))
    return result.document()


class _Steps:
    """See `realm.server.pipelines.Ask`."""

    def __init__(self, runtime: RuntimeManager, model: ModelConfig, shown_name: str) -> None:
        self._tenant = runtime.get_or_create_runtime_with_model(_TENANT, model)
        self._runtime = runtime
        self._model = model
        self._shown_name = shown_name

    async def ask(self, step: Step, text: str, system: str | None) -> StepAnswer:
        if step.model_type == "embedding":
            return await asyncio.to_thread(self._embed, text)
        return await asyncio.to_thread(self._generate, step, text, system)

    def _generate(self, step: Step, text: str, system: str | None) -> StepAnswer:
        options = step.options or TextOptions()
        keywords: Any = options.keywords(options.max_tokens or DEFAULT_MAX_TOKENS)
        if step.model_type == "completion":
            done = self._tenant.generate(text, **keywords)
        else:
            messages = [{"role": "system", "content": system}] if system else []
            messages.append({"role": "user", "content": text})
            done = self._tenant.generate(messages=messages, **keywords)
        return StepAnswer(
            done.text,
            self._shown_name,
            len(done.prompt_token_ids),
            len(done.token_ids),
            done.finish_reason,
        )

    def _embed(self, text: str) -> StepAnswer:
        model = self._runtime.models[self._model.name]
        token_ids = model.tokenizer.encode(text)
        vector = model.embed_text(token_ids, "mean", True)
        return StepAnswer(vector.tolist(), self._shown_name, len(token_ids), 0, None)
