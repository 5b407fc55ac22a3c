"""A pipeline's steps, done by the engine for one tenant: admitted, measured and let go of as every
other generation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from realm.errors import ChatTemplateError, NotSupportedError
from realm.server.definitions import Tenant
from realm.server.front.served_embedding import served_embedding
from realm.server.front.served_generation import ServedGeneration
from realm.server.front.services import Services
from realm.server.front.text_calls import models_of, text_call
from realm.server.pipelines import PipelineResult, Step, StepAnswer, run_pipeline
from realm.server.text_options import TextOptions

_ROUTE = "pipeline"
_DEFAULT_OPTIONS = TextOptions()


async def run_for(
    services: Services, tenant: Tenant, pipeline_id: str, given: Any, request_id: str
) -> PipelineResult:
    """Raises PipelineNotFoundError, PipelineInputError and PipelineStepError."""
    pipeline = services.pipelines.get(pipeline_id)
    steps = PipelineSteps(services, tenant, request_id)
    return await run_pipeline(pipeline, given, steps.ask, services.now)


@dataclass(frozen=True, slots=True)
class PipelineSteps:
    """The steps of one run. request_id: for the log."""

    services: Services
    tenant: Tenant
    request_id: str

    async def ask(self, step: Step, text: str, system: str | None) -> StepAnswer:
        """See `realm.server.pipelines.Ask`. Without a model of its own the step is for the first
        of the tenant's that fits: a chat fits a model with a chat template, an embedding one that
        gives vectors."""
        models = models_of(self.services, self.tenant) if step.model is None else [step.model]
        for place, model in enumerate(models):
            try:
                if step.model_type == "embedding":
                    return await self._embed(model, text)
                return await self._generate(step, model, text, system)
            except (ChatTemplateError, NotSupportedError):
                if place == len(models) - 1:
                    raise
        raise AssertionError("models_of gives at least one")

    async def _generate(self, step: Step, model: str, text: str, system: str | None) -> StepAnswer:
        is_chat = step.model_type == "chat"
        messages = [{"role": "system", "content": system}] if system else []
        call = text_call(
            self.services,
            self.tenant,
            model=model,
            options=step.options or _DEFAULT_OPTIONS,
            prompt=None if is_chat else text,
            messages=[*messages, {"role": "user", "content": text}] if is_chat else None,
        )
        async with ServedGeneration(
            self.services, self.tenant, call, route=_ROUTE, request_id=self.request_id
        ) as generation:
            done = await generation.result()
        tokens = len(done.token_ids)
        return StepAnswer(done.text, model, done.prompt_token_count, tokens, done.finish_reason)

    async def _embed(self, model: str, text: str) -> StepAnswer:
        name = self.services.directory.resolve_model(self.tenant, model).model.name
        found = await served_embedding(
            self.services, self.tenant, name, [text], route=_ROUTE, request_id=self.request_id
        )
        vector = np.frombuffer(found.vectors, np.float32).tolist()
        return StepAnswer(vector, model, sum(found.token_counts), 0, None)
