"""A tenant's runtime: its model, its program, its limits, and how requests are made of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Unpack

from realm.config import GenerationOptions, ModelConfig
from realm.errors import RealmError
from realm.lora import LoRAManager
from realm.runtime.delivery import Delivery
from realm.runtime.direct_run import DirectRun
from realm.runtime.guest_models import GuestModels
from realm.runtime.guest_run import GuestRun
from realm.runtime.guest_state import Surroundings
from realm.runtime.handles import ModelHandle
from realm.runtime.held_adapters import (
    AdapterNames,
    HeldAdapters,
    RequestAdapters,
    hold_adapters,
    weighted,
)
from realm.runtime.hosted_model import HostedModel, Message
from realm.runtime.job import Job
from realm.runtime.limits import GuestLimits
from realm.runtime.loop import EngineLoop
from realm.runtime.options import GenerationKeywords, generation_options
from realm.runtime.pending import PendingGeneration
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
    lora: LoRAManager


@dataclass(frozen=True, slots=True)
class _Terms:
    """What holds for a session, as it was when its request came."""

    policy: TenantPolicy
    constraint: Constraint | None
    adapters: HeldAdapters | None


def _nothing() -> None:
    pass


class TenantRuntime:
    """Generations of one tenant on one model. Any number of threads may use it at once.

    Each request runs in a fresh instance of the tenant's program. Once the tenant was removed,
    every request ends in a RequestError.
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
    def lora_adapter_id(self) -> str | None:
        """The name of the adapter that its requests take from now on; None for none."""
        return self._tenant.adapter

    @property
    def draft_model_config(self) -> ModelConfig | None:
        """The draft model that is configured for its model, under its own id; None for none."""
        config = self.model_config
        if config.draft_model_path is None:
            return None
        return ModelConfig(config.draft_model_path, config.draft_model_id)

    @property
    def limits(self) -> GuestLimits:
        """Of each request from now on."""
        return self._tenant.policy.guest_limits or self._parts.limits

    def is_compiled(self, program: str | None = None) -> bool:
        """Whether a request that names this program, or none, begins without compiling it."""
        return self._tenant.is_compiled(program)

    def generate(
        self,
        prompt: str | None = None,
        *,
        messages: Sequence[Message] | None = None,
        token_ids: Sequence[int] | None = None,
        adapters: AdapterNames | None = None,
        program: str | None = None,
        direct: bool = False,
        **options: Unpack[GenerationKeywords],
    ) -> GenerationResult:
        """A whole answer.

        One of prompt (continued as it stands), messages (through the model's chat template) and
        token_ids. adapters: a name, or several, each with a weight or 1, added in order; () for
        none, None for the tenant's own. program: one of its policy's by name, None for the tenant's
        own. direct leaves the guest out. Raises RequestError and its kinds, ConfigError,
        TokenizerError, ChatTemplateError, AdapterError and GuestError and their kinds.
        """
        request = self._request(prompt, messages, token_ids, options)
        job = self._submit(request, adapters, program, direct, capacity=None)
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
        adapters: AdapterNames | None = None,
        program: str | None = None,
        direct: bool = False,
        **options: Unpack[GenerationKeywords],
    ) -> TokenStream:
        """The same, piece by piece; closing the stream cancels the request."""
        request = self._request(prompt, messages, token_ids, options)
        job = self._submit(request, adapters, program, direct, capacity=_STREAM_PIECES)
        return TokenStream(job.delivery, lambda: self._parts.loop.cancel(job))

    def submit(
        self,
        prompt: str | None = None,
        *,
        messages: Sequence[Message] | None = None,
        token_ids: Sequence[int] | None = None,
        adapters: AdapterNames | None = None,
        program: str | None = None,
        direct: bool = False,
        on_news: Callable[[], None],
        wants_pieces: bool = True,
        **options: Unpack[GenerationKeywords],
    ) -> PendingGeneration:
        """The same without ever waiting for the engine; what is submitted is checked first.

        on_news: called when there is a first piece to take and at the end, perhaps before this
        returns, on the engine's thread or one that serves it: it must not wait and not raise.
        wants_pieces: without, there is the result alone.
        """
        request = self._request(prompt, messages, token_ids, options)
        capacity = _STREAM_PIECES if wants_pieces else None
        job = self._submit(request, adapters, program, direct, capacity=capacity, on_news=on_news)
        return PendingGeneration(job.delivery, lambda: self._parts.loop.cancel(job))

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

    def _submit(
        self,
        request: Request,
        adapters: AdapterNames | None,
        program_name: str | None,
        direct: bool,
        *,
        capacity: int | None,
        on_news: Callable[[], None] | None = None,
    ) -> Job:
        parts, tenant = self._parts, self._tenant
        tenant.require_present()
        policy = tenant.policy
        tenant.last_used = parts.now()
        stopwatch = Stopwatch(tenant.last_used)
        delivery = Delivery(capacity, lambda: parts.loop.wake(job), parts.loop.herald.tell, on_news)
        # Compiled and encoded here, on the caller's thread.
        constraint = parts.constraints.compile(request.model.stored, request.options)
        prompt_token_ids = request.prompt_token_ids() if direct else []
        program = None if direct else tenant.program(program_name)
        held = self._hold(adapters)
        terms = _Terms(policy, constraint, held)
        begin: Callable[[Job], Run]
        if program is None:
            begin = partial(self._begin_direct, request, prompt_token_ids, terms)
        else:
            begin = partial(self._begin_guest, request, program, terms)
        let_go = _nothing if held is None else held.drop
        job = Job(stopwatch, delivery, begin, tenant.account, policy.priority, let_go)

        def submit() -> None:
            try:
                parts.loop.submit(job)
            except RealmError as error:  # nobody else would hear of it on a loader's thread
                let_go()
                delivery.fail(error)

        if held is None or held.is_ready:
            submit()
        else:
            held.when_ready(submit)
        return job

    def _hold(self, adapters: AdapterNames | None) -> HeldAdapters | None:
        names = adapters if adapters is not None else self._tenant.adapter or ()
        base = self._model.stored.content_hash
        return hold_adapters(self._parts.lora, names, base, self.tenant_id)

    def _begin_guest(
        self,
        request: Request,
        program: GuestProgram,
        terms: _Terms,
        job: Job,
    ) -> Run:
        parts, tenant, policy = self._parts, self._tenant, terms.policy
        weighted(
            terms.adapters
        )  # what could not be loaded fails the request before its program starts

        def make_session(
            handle: ModelHandle,
            prompt_token_ids: list[int],
            options: GenerationOptions,
            constraint: Constraint | None,
        ) -> InferenceSession:
            own = _Terms(policy, constraint, handle.adapters)
            return self._make_session(handle.model, prompt_token_ids, options, own)

        services = TenantServices(
            account=tenant.account,
            state=parts.state,
            guest_models=parts.guest_models,
            constraints=parts.constraints,
            workers=parts.workers,
            tool_workers=parts.tool_workers,
            tools=policy.tools,
            drafts=tenant.drafts,
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
            log=self._log,
            now=parts.now,
            seed=request.options.sampling.seed.to_bytes(_SEED_BYTES, "little"),
            make_session=make_session,
            adapters=RequestAdapters(parts.lora, tenant.tenant_id, request.model, terms.adapters),
            constraint=RequestConstraint(
                parts.constraints, request.options, request.model, terms.constraint
            ),
            services=services,
            wake=lambda: parts.loop.wake(job),
            has_room=job.delivery.has_room,
        )
        return GuestRun(request, program, surroundings, job.stopwatch)

    def _begin_direct(
        self,
        request: Request,
        prompt_token_ids: list[int],
        terms: _Terms,
        job: Job,
    ) -> Run:
        session = self._make_session(request.model, prompt_token_ids, request.options, terms)
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
        terms: _Terms,
    ) -> InferenceSession:
        return InferenceSession(
            self._parts.engine,
            model.stored,
            prompt_token_ids,
            options,
            self.tenant_id,
            constraint=terms.constraint,
            priority=terms.policy.priority,
            adapters=weighted(terms.adapters),
            draft=self._tenant.drafts.of(model.stored),
        )

    def _log(self, level: int, text: str) -> None:
        # One call is one line: no program writes what looks like another tenant's.
        line = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
        _GUEST_LOGGER.log(_LOG_LEVELS[level], "%s: %s", self.tenant_id, line)
