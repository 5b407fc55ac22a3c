"""A tenant's runtime: its model, its program, its limits, and how requests are made of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Unpack

from realm.config import GenerationOptions, ModelConfig
from realm.runtime.delivery import Delivery
from realm.runtime.direct_run import DirectRun
from realm.runtime.guest_models import GuestModels
from realm.runtime.guest_run import GuestRun
from realm.runtime.guest_state import Surroundings
from realm.runtime.hosted_model import HostedModel, Message
from realm.runtime.job import Job
from realm.runtime.limits import GuestLimits
from realm.runtime.loop import EngineLoop
from realm.runtime.options import GenerationKeywords, generation_options
from realm.runtime.policy import TenantPolicy
from realm.runtime.request import Request, make_request
from realm.runtime.request_constraint import RequestConstraint
from realm.runtime.result import GenerationResult
from realm.runtime.run import Run
from realm.runtime.services import TenantServices
from realm.runtime.state_store import StateStore
from realm.runtime.stream import TokenStream
from realm.runtime.tenant_record import TenantRecord
from realm.runtime.timings import Stopwatch
from realm.runtime.workers import Workers
from realm.session import InferenceSession
from realm.session.constraint import Constraint, ConstraintCompiler

if TYPE_CHECKING:
    from realm.engine import Engine
    from realm.runtime.program import GuestProgram

_GUEST_LOGGER = logging.getLogger("realm.guest")
_LOG_LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
_STREAM_PIECES = 256
_SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class RuntimeParts:
    """What the tenants of one manager share.

    limits: of guests whose tenant has none of its own. workers, tool_workers: as in
    TenantServices.
    """

    engine: Engine
    loop: EngineLoop
    now: Callable[[], float]
    limits: GuestLimits
    state: StateStore
    guest_models: GuestModels
    workers: Workers
    tool_workers: Workers
    constraints: ConstraintCompiler


class TenantRuntime:
    """Generations of one tenant on one model. Any number of threads may use it at once.

    Each request runs in a fresh instance of the tenant's program.
    """

    def __init__(
        self, config: ModelConfig, model: HostedModel, *, tenant: TenantRecord, parts: RuntimeParts
    ) -> None:
        """model: what `config` names; one of those that the tenant may load."""
        self.model_config = config
        self._tenant = tenant
        self._model = model
        self._parts = parts

    @property
    def tenant_id(self) -> str:
        """Whose runtime this is."""
        return self._tenant.tenant_id

    @property
    def limits(self) -> GuestLimits:
        """Of each request from now on."""
        return self._tenant.policy.guest_limits or self._parts.limits

    def generate(
        self,
        prompt: str | None = None,
        *,
        messages: Sequence[Message] | None = None,
        token_ids: Sequence[int] | None = None,
        direct: bool = False,
        **options: Unpack[GenerationKeywords],
    ) -> GenerationResult:
        """A whole answer.

        One of prompt (continued as it stands), messages (through the model's chat template) and
        token_ids; direct leaves the guest out. Raises RequestError and its kinds, ConfigError,
        TokenizerError, ChatTemplateError, GuestError and its kinds.
        """
        job = self._submit(self._request(prompt, messages, token_ids, options), None, direct)
        try:
            return job.delivery.wait()
        except BaseException:
            self._parts.loop.cancel(job)  # an interrupted caller wants no more of it
            raise

    def stream(
        self,
        prompt: str | None = None,
        *,
        messages: Sequence[Message] | None = None,
        token_ids: Sequence[int] | None = None,
        direct: bool = False,
        **options: Unpack[GenerationKeywords],
    ) -> TokenStream:
        """The same, piece by piece; closing the stream cancels the request."""
        request = self._request(prompt, messages, token_ids, options)
        job = self._submit(request, _STREAM_PIECES, direct)
        return TokenStream(job.delivery, lambda: self._parts.loop.cancel(job))

    def _request(
        self,
        prompt: str | None,
        messages: Sequence[Message] | None,
        token_ids: Sequence[int] | None,
        options: GenerationKeywords,
    ) -> Request:
        return make_request(
            self._model,
            generation_options(options),
            prompt=prompt,
            messages=messages,
            token_ids=token_ids,
        )

    def _submit(self, request: Request, capacity: int | None, direct: bool) -> Job:
        parts, tenant = self._parts, self._tenant
        policy = tenant.policy
        tenant.last_used = parts.now()
        stopwatch = Stopwatch(tenant.last_used)
        delivery = Delivery(capacity, lambda: parts.loop.wake(job))
        # Compiled and encoded here, on the caller's thread.
        constraint = parts.constraints.compile(request.model.stored, request.options)
        if direct:
            prompt_token_ids = request.prompt_token_ids()
            begin = partial(self._begin_direct, request, prompt_token_ids, constraint, policy)
        else:
            begin = partial(self._begin_guest, request, tenant.program(), constraint, policy)
        job = Job(stopwatch, delivery, begin, tenant.account, policy.priority)
        parts.loop.submit(job)
        return job

    def _begin_guest(
        self,
        request: Request,
        program: GuestProgram,
        constraint: Constraint | None,
        policy: TenantPolicy,
        job: Job,
    ) -> Run:
        parts, tenant = self._parts, self._tenant

        def make_session(
            model: HostedModel,
            prompt_token_ids: list[int],
            options: GenerationOptions,
            constraint: Constraint | None,
        ) -> InferenceSession:
            return self._make_session(model, prompt_token_ids, options, constraint, policy)

        services = TenantServices(
            account=tenant.account,
            state=parts.state,
            guest_models=parts.guest_models,
            constraints=parts.constraints,
            workers=parts.workers,
            tool_workers=parts.tool_workers,
            tools=policy.tools,
            reads_tensors=policy.reads_tensors,
            priority=policy.priority,
        )
        surroundings = Surroundings(
            engine=parts.engine,
            models=tenant.models,
            tenant_id=tenant.tenant_id,
            options=request.options,
            limits=policy.guest_limits or parts.limits,
            put_piece=job.put_piece,
            heard_token=lambda: job.stopwatch.token(parts.now()),
            log=self._log,
            now=parts.now,
            seed=request.options.sampling.seed.to_bytes(_SEED_BYTES, "little"),
            make_session=make_session,
            constraint=RequestConstraint(
                parts.constraints, request.options, request.model, constraint
            ),
            services=services,
            wake=lambda: parts.loop.wake(job),
        )
        return GuestRun(request, program, surroundings, job.stopwatch)

    def _begin_direct(
        self,
        request: Request,
        prompt_token_ids: list[int],
        constraint: Constraint | None,
        policy: TenantPolicy,
        job: Job,
    ) -> Run:
        session = self._make_session(
            request.model, prompt_token_ids, request.options, constraint, policy
        )
        return DirectRun(
            request,
            session,
            prompt_token_ids,
            put_piece=job.put_piece,
            now=self._parts.now,
            stopwatch=job.stopwatch,
        )

    def _make_session(
        self,
        model: HostedModel,
        prompt_token_ids: list[int],
        options: GenerationOptions,
        constraint: Constraint | None,
        policy: TenantPolicy,
    ) -> InferenceSession:
        return InferenceSession(
            self._parts.engine,
            model.stored,
            prompt_token_ids,
            options,
            self.tenant_id,
            constraint=constraint,
            priority=policy.priority,
        )

    def _log(self, level: int, text: str) -> None:
        # One call is one line: no program writes what looks like another tenant's.
        line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
        _GUEST_LOGGER.log(_LOG_LEVELS[level], "%s: %s", self.tenant_id, line)
