"""Spans of requests and generations for OpenTelemetry, where it is installed and asked for.

Otherwise nothing: `NO_TRACING` makes spans that know nothing and cost a call. Spans hold routes,
names, counts and ids, never what a client wrote.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Protocol

from realm.errors import ConfigError

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_App = Callable[[_Scope, _Receive, _Send], Awaitable[None]]
Attribute = str | int | float | bool


class Span(Protocol):
    """Something that takes a while."""

    def set(self, name: str, value: Attribute) -> None:
        """One more thing that is known of it."""

    def end(self, error: str | None = None) -> None:
        """It is over. error: the name of the error's class that ended it."""


class Tracing:
    """Makes no spans; the base of what does."""

    is_on = False

    def start(self, name: str, attributes: dict[str, Attribute]) -> Span:
        """A span inside the request's that is served here. The caller ends it."""
        del name, attributes
        return _NO_SPAN

    @contextmanager
    def request(self, name: str, headers: dict[str, str]) -> Iterator[Span]:
        """The span of one request, around its handling. headers: may name the client's trace."""
        del name, headers
        yield _NO_SPAN

    def close(self) -> None:
        """Sends what was not sent yet."""


class _NoSpan:
    def set(self, name: str, value: Attribute) -> None:
        pass

    def end(self, error: str | None = None) -> None:
        pass


_NO_SPAN = _NoSpan()
NO_TRACING = Tracing()


class _OpenSpan:
    def __init__(self, span: Any) -> None:
        self._span = span

    def set(self, name: str, value: Attribute) -> None:
        self._span.set_attribute(name, value)

    def end(self, error: str | None = None) -> None:
        if error is not None:
            self._span.set_attribute("error.type", error)
        self._span.end()


class _OpenTracing(Tracing):
    """Through a tracer of OpenTelemetry, whose modules come as arguments."""

    is_on = True

    def __init__(self, trace: Any, propagate: Any, provider: Any) -> None:
        self._trace = trace
        self._propagate = propagate
        self._provider = provider
        self._tracer = provider.get_tracer("realm.server")

    def start(self, name: str, attributes: dict[str, Attribute]) -> Span:
        return _OpenSpan(self._tracer.start_span(name, attributes=attributes))

    @contextmanager
    def request(self, name: str, headers: dict[str, str]) -> Iterator[Span]:
        parent = self._propagate.extract(headers)
        kind = self._trace.SpanKind.SERVER
        # An exception's message may quote what a client sent; its class is told instead.
        with self._tracer.start_as_current_span(
            name, context=parent, kind=kind, record_exception=False, set_status_on_exception=False
        ) as span:
            open_span = _OpenSpan(span)
            try:
                yield open_span
            except BaseException as error:
                open_span.set("error.type", type(error).__name__)
                raise

    def close(self) -> None:
        self._provider.shutdown()


class TracingMiddleware:
    """An ASGI application around another: one span for each request."""

    def __init__(self, app: _App, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """See ASGI. WebSockets have one span while they last."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        wanted = (b"traceparent", b"tracestate")
        headers = {
            name.decode(): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in wanted
        }
        method = scope.get("method", "WEBSOCKET")
        with self._tracing.request(method, headers) as span:

            async def told(message: MutableMapping[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    span.set("http.response.status_code", message["status"])
                await send(message)

            span.set("http.request.method", method)
            try:
                await self._app(scope, receive, told)
            finally:
                # The router leaves the route there; a path may hold anything.
                span.set("http.route", getattr(scope.get("route"), "path", "unmatched"))


def open_tracing(endpoint: str | None, service_name: str = "realm") -> Tracing:
    """Tracing to an OTLP collector over HTTP, or none for None.

    endpoint: such as "http://127.0.0.1:4318/v1/traces". Raises ConfigError when OpenTelemetry is
    not installed.
    """
    if endpoint is None:
        return NO_TRACING
    if not endpoint.startswith(("http://", "https://")):
        raise ConfigError(f"traces go to an http:// or https:// address, not to {endpoint!r}")
    try:
        trace = importlib.import_module("opentelemetry.trace")
        propagate = importlib.import_module("opentelemetry.propagate")
        resources = importlib.import_module("opentelemetry.sdk.resources")
        sdk = importlib.import_module("opentelemetry.sdk.trace")
        export = importlib.import_module("opentelemetry.sdk.trace.export")
        otlp = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError as error:
        raise ConfigError(
            "tracing needs OpenTelemetry; install it with: pip install 'realm[tracing]'"
        ) from error
    resource = resources.Resource.create({"service.name": service_name})
    provider = sdk.TracerProvider(resource=resource)
    provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter(endpoint=endpoint)))
    return _OpenTracing(trace, propagate, provider)
