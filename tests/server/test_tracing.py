"""Spans: none where OpenTelemetry is not there, and what they hold where it is."""

import asyncio
import sys
import types
from contextlib import contextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from tests.server.page.page_server import FakeDirectory, FiguresEngine, make_services

from realm.errors import ConfigError, RateLimitError, RequestError
from realm.server.definitions import Tenant
from realm.server.front.engine_port import GenerateCall
from realm.server.front.served_generation import ServedGeneration
from realm.server.front.tracing import NO_TRACING, TracingMiddleware, open_tracing

ENDPOINT = "http://127.0.0.1:4318/v1/traces"


class Span:
    def __init__(self, name, attributes=None, **options):
        self.name, self.attributes, self.options = name, dict(attributes or {}), options
        self.is_ended = False

    def set_attribute(self, name, value):
        self.attributes[name] = value

    def end(self):
        self.is_ended = True


class Provider:
    """In place of OpenTelemetry's: remembers its spans."""

    def __init__(self, resource):
        self.resource, self.spans, self.processors, self.is_shut = resource, [], [], False

    def add_span_processor(self, processor):
        self.processors.append(processor)

    def get_tracer(self, name):
        return self

    def shutdown(self):
        self.is_shut = True

    def start_span(self, name, attributes=None):
        self.spans.append(Span(name, attributes))
        return self.spans[-1]

    @contextmanager
    def start_as_current_span(self, name, **options):
        span = Span(name, **options)
        self.spans.append(span)
        try:
            yield span
        finally:
            span.end()


@pytest.fixture
def provider(monkeypatch):
    """The fake modules stand where OpenTelemetry's would, while the test runs."""
    made = []

    def make(resource):
        made.append(Provider(resource))
        return made[-1]

    members = {
        "trace": {"SpanKind": types.SimpleNamespace(SERVER="server")},
        "propagate": {"extract": dict},
        "sdk": {},
        "sdk.resources": {"Resource": types.SimpleNamespace(create=dict)},
        "sdk.trace": {"TracerProvider": make},
        "sdk.trace.export": {"BatchSpanProcessor": lambda exporter: exporter},
        "exporter.otlp.proto.http.trace_exporter": {"OTLPSpanExporter": lambda endpoint: endpoint},
    }
    monkeypatch.setitem(sys.modules, "opentelemetry", types.ModuleType("opentelemetry"))
    for name in ("exporter", "exporter.otlp", "exporter.otlp.proto", "exporter.otlp.proto.http"):
        members.setdefault(name, {})
    for name, contents in members.items():
        module = types.ModuleType(f"opentelemetry.{name}")
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return made


@pytest.fixture
def no_opentelemetry(monkeypatch):
    """It cannot be imported, installed or not."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    for name in [each for each in sys.modules if each.startswith("opentelemetry.")]:
        monkeypatch.delitem(sys.modules, name)


def test_without_an_endpoint_there_is_nothing(no_opentelemetry):
    tracing = open_tracing(None)
    assert tracing is NO_TRACING
    assert tracing.is_on is False
    with tracing.request("GET", {"traceparent": "x"}) as span:
        span.set("a", 1)
    tracing.start("generation", {"a": 1}).end("CancelledError")
    tracing.close()


def test_an_endpoint_wants_opentelemetry(no_opentelemetry):
    with pytest.raises(ConfigError, match=r"realm\[tracing\]"):
        open_tracing(ENDPOINT)


@pytest.mark.parametrize("endpoint", ["", "localhost:4318", "file:///etc/passwd", "ftp://x"])
def test_an_endpoint_that_is_no_address(endpoint, provider):
    with pytest.raises(ConfigError, match="http"):
        open_tracing(endpoint)
    assert provider == []


def _get(tracing, path, headers=None):
    async def fine(request):
        return PlainTextResponse("fine")

    async def failing(request):
        raise RequestError("my diary")

    app = Starlette(routes=[Route("/items/{name}", fine), Route("/failing", failing)])

    async def ask():
        transport = httpx.ASGITransport(TracingMiddleware(app, tracing), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://realm") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


def test_a_request(provider):
    tracing = open_tracing(ENDPOINT, "realm-test")
    (made,) = provider
    assert made.resource == {"service.name": "realm-test"}
    assert made.processors == [ENDPOINT]
    headers = {"traceparent": "00-1-2-01", "authorization": "Bearer realm_secret"}
    assert _get(tracing, "/items/my-diary?q=diary", headers).text == "fine"
    (span,) = made.spans
    assert span.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/items/{name}",
    }
    assert span.options["context"] == {"traceparent": "00-1-2-01"}
    assert span.is_ended
    tracing.close()
    assert made.is_shut


def test_requests_that_fail_or_lead_nowhere(provider):
    tracing = open_tracing(ENDPOINT)
    assert _get(tracing, "/failing").status_code == 500
    assert _get(tracing, "/my-diary").status_code == 404
    failed, lost = provider[0].spans
    assert failed.attributes["error.type"] == "RequestError"
    assert lost.attributes["http.route"] == "unmatched"
    assert failed.options["record_exception"] is False
    assert "diary" not in str([vars(each) for each in provider[0].spans])


class Admission:
    """refusal: what admitting raises."""

    refusal = None

    def admit(self, tenant):
        if self.refusal is not None:
            raise self.refusal
        return types.SimpleNamespace(close=lambda tokens: None)


def _generate(services, **options):
    async def run():
        call = GenerateCall("acme", "smollm2", prompt="my diary", options=options)
        route = {"route": "completions", "request_id": "r-1"}
        async with ServedGeneration(services, Tenant("acme"), call, **route) as generation:
            async for _ in generation:
                pass
            await generation.result()

    asyncio.run(run())


def test_a_generation(provider, caplog):
    tracing = open_tracing(ENDPOINT)
    engine = FiguresEngine()
    services = make_services(engine, FakeDirectory(), tracing=tracing, admission=Admission())
    _generate(services)
    engine.error = RequestError("my diary")
    with pytest.raises(RequestError):
        _generate(services)
    well, failed = provider[0].spans
    assert well.name == "generation"
    assert well.attributes == {
        "realm.tenant": "acme",
        "realm.model": "smollm2",
        "realm.route": "completions",
        "realm.outcome": "stop",
        "realm.prompt_tokens": 7,
        "realm.completion_tokens": 6,
    }
    assert failed.attributes["error.type"] == failed.attributes["realm.outcome"] == "RequestError"
    assert well.is_ended
    assert failed.is_ended
    assert "diary" not in str([vars(each) for each in provider[0].spans])


def test_a_generation_that_is_refused_is_counted():
    admission = Admission()
    admission.refusal = RateLimitError("too many")
    services = make_services(FiguresEngine(), FakeDirectory(), admission=admission)
    with pytest.raises(RateLimitError):
        _generate(services)
    text = services.metrics.render(None).decode()
    refused = 'realm_generations_refused_total{reason="RateLimitError",tenant="acme"} 1.0'
    assert refused in text
    assert 'realm_generations_running{tenant="acme"} 0.0' in text
