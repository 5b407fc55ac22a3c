"""What the messages of the front ask for, done by whoever may take the time for it.

The reader's thread looks at a message, and submits a generation for which all is there. What may
take long is done by workers, where one tenant has a few at most, and the changes of one tenant
follow each other in order.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from realm.errors import (
    CancelledError,
    EngineUnavailableError,
    RateLimitError,
    RealmError,
    ServerError,
    WireError,
)
from realm.runtime import RuntimeManager
from realm.runtime.workers import Workers
from realm.server.engine_process.answer_writer import AnswerWriter
from realm.server.engine_process.embedding import embed_texts
from realm.server.engine_process.figures import figures_of, tenant_figures
from realm.server.engine_process.public_words import PublicWords
from realm.server.engine_process.running_request import RunningRequest
from realm.server.engine_process.tenancy import Tenancy
from realm.server.engine_process.tenant_terms import options_of
from realm.server.engine_process.wire_values import TokenTexts
from realm.server.wire import messages as wire
from realm.server.wire.failures import failure_message

_LOGGER = logging.getLogger(__name__)
_REQUEST_THREADS = 8
_TENANT_THREADS = 2
_EMBEDDING_THREADS = 2
_CHANGE_THREADS = 8
_MOST_OF_TENANT = 4096
_EVERYONE = ""


class Service:
    """make_writer: given what to call when a request has ended. tell: called with "configured" when
    all is there, and with "idle" once it drains and nothing runs any more; on any thread. `handle`
    is for one thread, the reader's.
    """

    def __init__(
        self,
        manager: RuntimeManager,
        words: PublicWords,
        make_writer: Callable[[Callable[[RunningRequest], None]], AnswerWriter],
        tell: Callable[[str], None],
    ) -> None:
        self._manager = manager
        self._words = words
        self._tenancy = Tenancy(manager, words)
        self._writer = make_writer(self._ended)
        self._tell = tell
        self._lock = threading.Lock()
        self._running: dict[int, RunningRequest] = {}
        self._tenant_of: dict[int, str] = {}
        self._counts: dict[str, int] = {}
        self._token_texts: dict[str, TokenTexts] = {}
        self._is_draining = False
        self._workers = Workers("request", _REQUEST_THREADS, _TENANT_THREADS)
        # Of their own: vectors are computed by the worker itself, and generations do not wait.
        self._embeddings = Workers("embedding", _EMBEDDING_THREADS, 1)
        self._changes = Workers("change", _CHANGE_THREADS, 1)
        self._counters = Workers("figures", 1, 1)
        self._handlers: dict[type, Callable[[Any], None]] = {
            wire.Generate: self._generate,
            wire.Cancel: self._cancel,
            wire.Credit: self._credit,
            wire.Embed: self._embed,
            wire.Configure: self._configure,
            wire.PutTenant: self._put_tenant,
            wire.RemoveTenant: self._remove_tenant,
            wire.PutItem: self._put_item,
            wire.RemoveItem: self._remove_item,
            wire.AskFigures: self._ask_figures,
        }

    def handle(self, question: wire.Question) -> None:
        """Begins what is asked for. Raises WireError for a request's number that is in use."""
        self._handlers[type(question)](question)

    def drain(self) -> None:
        """Lets what runs end and refuses what is new."""
        self._is_draining = True
        with self._lock:
            is_idle = not self._running
        if is_idle:
            self._tell("idle")

    def cancel_all(self) -> None:
        """The front has gone: nobody wants anything any more."""
        with self._lock:
            running = list(self._running.values())
        for request in running:
            self._abandon(request)

    def finish(self) -> None:
        """Returns when all that was answered has been sent; for what has been drained."""
        self._writer.close()

    def close(self) -> None:
        """Ends the workers, without waiting for what they do."""
        self._workers.close(wait_seconds=0.0)
        self._embeddings.close(wait_seconds=0.0)
        self._changes.close(wait_seconds=0.0)
        self._counters.close(wait_seconds=0.0)

    # Generations

    def _generate(self, call: wire.Generate) -> None:
        request = self._enter(call.number, call.tenant_id)
        if request is None:
            return
        if self._tenancy.is_warm(call):
            self._start(request, call)  # sooner done than handed to a worker
        else:
            self._workers.submit(call.tenant_id, partial(self._start, request, call), _nothing)

    def _start(self, request: RunningRequest, call: wire.Generate) -> None:
        try:
            if request.is_cancelled:
                raise CancelledError("the request was cancelled before it started")
            tenant = self._tenancy.tenant(call.tenant_id)
            options = options_of(tenant, call.options)
            runtime = self._tenancy.runtime(tenant, call.model)
            request.token_texts = self._texts_of(call.model)
            adapters = call.adapters
            if adapters is None and tenant.adapter is not None:
                adapters = [(tenant.adapter, 1.0)]
            pending = runtime.submit(
                call.prompt,
                messages=call.messages,
                token_ids=call.token_ids,
                adapters=adapters or (),
                program=call.program if call.program is not None else tenant.program,
                on_news=partial(self._writer.note, request),
                wants_pieces=call.wants_pieces,
                **options,
            )
        except Exception as error:
            self._refuse(request, error)
            return
        request.pending = pending
        if request.is_cancelled:  # meanwhile
            pending.cancel()
        if not self._tenancy.is_current(tenant):
            pending.cancel()
            self._tenancy.forget_again(tenant.tenant_id)
        if request.was_looked_at:
            self._writer.note(request)

    def _cancel(self, message: wire.Cancel) -> None:
        request = self._running.get(message.number)
        if request is not None:
            self._abandon(request)

    def _abandon(self, request: RunningRequest) -> None:
        request.is_cancelled = True
        if request.pending is not None:
            request.pending.cancel()
            self._writer.note(request)

    def _credit(self, message: wire.Credit) -> None:
        request = self._running.get(message.number)
        if request is not None and request.grant(message.pieces):
            self._writer.note(request)

    def _embed(self, call: wire.Embed) -> None:
        request = self._enter(call.number, call.tenant_id)
        if request is not None:
            action = partial(self._compute_vectors, request, call)
            self._embeddings.submit(call.tenant_id, action, _nothing)

    def _compute_vectors(self, request: RunningRequest, call: wire.Embed) -> None:
        try:
            tenant = self._tenancy.tenant(call.tenant_id)
            self._tenancy.runtime(tenant, call.model)
            model = self._manager.models[call.model]
            vectors = embed_texts(model, call, lambda: request.is_cancelled)
        except Exception as error:
            self._refuse(request, error)
        else:
            self._writer.send(vectors)
            self._ended(request)

    # What front and engine know

    def _configure(self, told: wire.Configure) -> None:
        if told.version != wire.PROTOCOL_VERSION:
            raise WireError(f"version {told.version}; this is {wire.PROTOCOL_VERSION}")
        # Its errors are for who runs the server, with the paths that they name.
        self._change(_EVERYONE, told.number, partial(self._take_in, told), str)

    def _take_in(self, told: wire.Configure) -> None:
        self._tenancy.configure(told)
        self._tell("configured")

    def _put_tenant(self, told: wire.PutTenant) -> None:
        action = partial(self._tenancy.put_tenant, told.tenant)
        self._change(told.tenant.tenant_id, told.number, action)

    def _remove_tenant(self, told: wire.RemoveTenant) -> None:
        action = partial(self._tenancy.remove_tenant, told.tenant_id)
        self._change(told.tenant_id, told.number, action)

    def _put_item(self, told: wire.PutItem) -> None:
        action = partial(self._tenancy.put_item, told.kind, told.item)
        self._change(told.item.tenant_id or _EVERYONE, told.number, action)

    def _remove_item(self, told: wire.RemoveItem) -> None:
        action = partial(self._tenancy.remove_item, told.kind, told.name, told.tenant_id)
        self._change(told.tenant_id or _EVERYONE, told.number, action)

    def _change(
        self,
        owner: str,
        number: int,
        action: Callable[[], None],
        describe: Callable[[RealmError], str] | None = None,
    ) -> None:
        def carry_out() -> None:
            try:
                action()
            except Exception as error:
                self._writer.send(self._failure(number, error, describe))
            else:
                self._writer.send(wire.Done(number))

        self._changes.submit(owner, carry_out, _nothing)

    def _ask_figures(self, message: wire.AskFigures) -> None:
        number, manager, writer = message.number, self._manager, self._writer

        def answer(engine: dict[str, float]) -> None:
            tenants = tenant_figures(manager) if message.of_tenants else {}
            writer.send(wire.Figures(number, tenants, engine))

        def on_engine_thread(figures: Any) -> None:
            engine = figures_of(figures) | {"running": float(len(self._running))}
            if message.of_tenants:  # thousands take a while, which the engine's thread has not
                self._counters.submit(_EVERYONE, partial(answer, engine), _nothing)
            else:
                answer(engine)

        manager.ask_figures(on_engine_thread)

    # Behind them

    def _enter(self, number: int, tenant_id: str) -> RunningRequest | None:
        """The new request; None when it was refused already."""
        if number in self._running:
            raise WireError(f"the number {number} is in use")
        refusal: RealmError | None = None
        if self._is_draining:
            refusal = EngineUnavailableError("the engine is shutting down")
        elif not self._tenancy.is_configured:
            refusal = EngineUnavailableError("the engine is starting")
        elif self._counts.get(tenant_id, 0) >= _MOST_OF_TENANT:
            refusal = RateLimitError(f"the tenant has {_MOST_OF_TENANT} requests already")
        if refusal is not None:
            self._writer.send(failure_message(number, refusal))
            return None
        request = RunningRequest(number)
        with self._lock:
            self._running[number] = request
            self._tenant_of[number] = tenant_id
            self._counts[tenant_id] = self._counts.get(tenant_id, 0) + 1
        return request

    def _refuse(self, request: RunningRequest, error: Exception) -> None:
        self._writer.send(self._failure(request.number, error))
        self._ended(request)

    def _ended(self, request: RunningRequest) -> None:
        with self._lock:
            self._running.pop(request.number, None)
            tenant_id = self._tenant_of.pop(request.number, None)
            if tenant_id is not None:
                self._counts[tenant_id] -= 1
                if not self._counts[tenant_id]:
                    del self._counts[tenant_id]
            is_last = self._is_draining and not self._running
        if is_last:
            self._tell("idle")

    def _failure(
        self,
        number: int,
        error: Exception,
        describe: Callable[[RealmError], str] | None = None,
    ) -> wire.Failed:
        if not isinstance(error, RealmError):
            _LOGGER.error("a message could not be served", exc_info=error)
            error = ServerError(f"a fault of the engine: {type(error).__name__}")
        return failure_message(number, error, (describe or self._words.describe)(error))

    def _texts_of(self, model: str) -> TokenTexts:
        texts = self._token_texts.get(model)
        if texts is None:
            texts = self._token_texts.setdefault(model, TokenTexts(self._manager.models[model]))
        return texts


def _nothing() -> None:
    pass
