"""What the front counts: requests, generations, tokens and their times, by tenant. Embeddings count
as generations without an answer.

Counting is for the event loop's thread; `render` may run on any. The engine's own figures are read
when someone asks for the metrics (`engine_metrics`). A bounded number of tenants have a label of
their own (`label_book`), so that ten thousand of them cost no more than a hundred.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

from prometheus_client import (
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from realm import errors
from realm.server.front.engine_metrics import engine_families
from realm.server.front.histogram import (
    FIRST_TOKEN_SECONDS,
    NEXT_TOKEN_SECONDS,
    REQUEST_SECONDS,
    Histogram,
)
from realm.server.front.label_book import LabelBook
from realm.server.wire.messages import Figures

LABELLED_TENANTS = 100
"""How many tenants have a label of their own when nothing else is said."""

_ROUTES = 100
_OUTCOMES = frozenset(
    {"stop", "length", "cancelled", "error"}
    | {
        name
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, errors.RealmError)
    }
)


class _TenantCounts:
    """Of one label."""

    __slots__ = (
        "completion_tokens",
        "first_token",
        "next_token",
        "outcomes",
        "prompt_tokens",
        "refusals",
        "running",
    )

    def __init__(self) -> None:
        self.running = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.outcomes: dict[str, int] = {}
        self.refusals: dict[str, int] = {}
        self.first_token = Histogram(FIRST_TOKEN_SECONDS)
        self.next_token = Histogram(NEXT_TOKEN_SECONDS)


class FrontMetrics(Collector):
    """Counters of one front process, in a registry of their own."""

    def __init__(self, labelled_tenants: int = LABELLED_TENANTS) -> None:
        """labelled_tenants: how many tenants have their own label; the rest share 'other'."""
        self._tenants = LabelBook(labelled_tenants)
        self._routes = LabelBook(_ROUTES)
        self._outcomes = LabelBook(len(_OUTCOMES), _OUTCOMES)
        self._counts: dict[str, _TenantCounts] = {}
        self._by_tenant: dict[str, _TenantCounts] = {}
        self._requests: dict[tuple[str, str], int] = {}
        self._request_seconds: dict[str, Histogram] = {}
        self._generation_seconds: dict[str, Histogram] = {}
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._registry.register(self)

    @property
    def running(self) -> int:
        """Generations that run now, of all tenants."""
        return sum(each.running for each in list(self._counts.values()))

    def generation_started(self, tenant_id: str) -> None:
        """It was admitted; `generation_ended` follows however it ends."""
        self._of(tenant_id).running += 1

    def generation_ended(  # noqa: PLR0917  as served_generation calls it
        self,
        tenant_id: str,
        route: str,
        outcome: str,
        seconds: float,
        prompt_tokens: int,
        completion_tokens: int,
    ) -> None:
        """outcome: a finish reason, or the name of an error's class. seconds: since its start."""
        counts = self._of(tenant_id)
        counts.running -= 1
        counts.prompt_tokens += prompt_tokens
        counts.completion_tokens += completion_tokens
        label = self._outcomes.label(outcome)
        counts.outcomes[label] = counts.outcomes.get(label, 0) + 1
        self._histogram(self._generation_seconds, route).add(seconds)

    def generation_refused(self, tenant_id: str, reason: str) -> None:
        """Nothing began. reason: the name of the error's class, RateLimitError above all."""
        refusals = self._of(tenant_id).refusals
        label = self._outcomes.label(reason)
        refusals[label] = refusals.get(label, 0) + 1

    def first_token(self, tenant_id: str, seconds: float) -> None:
        """A generation's first text came so long after its start."""
        self._of(tenant_id).first_token.add(seconds)

    def next_token(self, tenant_id: str, seconds: float) -> None:
        """Text came so long after the text before it."""
        counts = self._by_tenant.get(tenant_id)
        (self._of(tenant_id) if counts is None else counts).next_token.add(seconds)

    def request_ended(self, route: str, status: int, seconds: float) -> None:
        """An HTTP request was answered. route: its template, never the path that was asked for."""
        key = (self._routes.label(route), str(status) if 100 <= status <= 599 else "other")
        self._requests[key] = self._requests.get(key, 0) + 1
        self._histogram(self._request_seconds, route).add(seconds)

    def keep_tenants(self, tenant_ids: Set[str]) -> None:
        """Those that are not among these were removed: their labels go, and others may have them.
        One whose generations still run stays until they have ended."""
        for tenant_id, counts in list(self._by_tenant.items()):
            if tenant_id not in tenant_ids and not counts.running:
                del self._by_tenant[tenant_id]
                del self._counts[tenant_id]
                self._tenants.forget(tenant_id)

    def render(self, figures: Figures | None) -> bytes:
        """All metrics in Prometheus' text format. figures: of the engine; None when it is away."""
        engine = CollectorRegistry()
        engine.register(_Families(list(engine_families(figures, self._tenants.label))))
        return generate_latest(self._registry) + generate_latest(engine)

    def collect(self) -> Iterator[Metric]:
        """The front's own families, for the registry."""
        counts = list(self._counts.items())
        yield from _of_tenants(counts)
        yield _histograms(
            "realm_time_to_first_token_seconds",
            "From a generation's admission to its first text.",
            "tenant",
            [(label, each.first_token) for label, each in counts],
        )
        yield _histograms(
            "realm_inter_token_seconds",
            "From one text of a stream to the next.",
            "tenant",
            [(label, each.next_token) for label, each in counts],
        )
        requests = CounterMetricFamily(
            "realm_http_requests", "HTTP requests by route and status.", labels=("route", "status")
        )
        for key, count in list(self._requests.items()):
            requests.add_metric(key, count)
        yield requests
        yield _histograms(
            "realm_http_request_seconds",
            "Duration of HTTP requests, streams to their end.",
            "route",
            list(self._request_seconds.items()),
        )
        yield _histograms(
            "realm_generation_seconds",
            "Duration of generations by the route that asked for them.",
            "route",
            list(self._generation_seconds.items()),
        )

    def _of(self, tenant_id: str) -> _TenantCounts:
        counts = self._by_tenant.get(tenant_id)
        if counts is None:
            label = self._tenants.label(tenant_id)
            counts = self._counts.get(label)
            if counts is None:
                counts = self._counts[label] = _TenantCounts()
            if label == tenant_id:
                self._by_tenant[tenant_id] = counts
        return counts

    def _histogram(self, histograms: dict[str, Histogram], route: str) -> Histogram:
        label = self._routes.label(route)
        histogram = histograms.get(label)
        if histogram is None:
            histogram = histograms[label] = Histogram(REQUEST_SECONDS)
        return histogram


class _Families(Collector):
    """Families that were made before."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _of_tenants(counts: list[tuple[str, _TenantCounts]]) -> Iterator[Metric]:
    running = GaugeMetricFamily(
        "realm_generations_running", "Generations that run or wait.", labels=("tenant",)
    )
    prompt = CounterMetricFamily(
        "realm_prompt_tokens", "Tokens of prompts of generations that ended.", labels=("tenant",)
    )
    completion = CounterMetricFamily(
        "realm_completion_tokens", "Tokens of answers that ended.", labels=("tenant",)
    )
    outcomes = CounterMetricFamily(
        "realm_generations", "Generations by how they ended.", labels=("tenant", "outcome")
    )
    refusals = CounterMetricFamily(
        "realm_generations_refused",
        "Generations that never began, for limits or an engine that was away.",
        labels=("tenant", "reason"),
    )
    for label, each in counts:
        running.add_metric((label,), each.running)
        prompt.add_metric((label,), each.prompt_tokens)
        completion.add_metric((label,), each.completion_tokens)
        for outcome, count in list(each.outcomes.items()):
            outcomes.add_metric((label, outcome), count)
        for reason, count in list(each.refusals.items()):
            refusals.add_metric((label, reason), count)
    return iter((running, prompt, completion, outcomes, refusals))


def _histograms(
    name: str, text: str, label: str, histograms: list[tuple[str, Histogram]]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=(label,))
    for value, histogram in histograms:
        family.add_metric((value,), buckets=histogram.buckets(), sum_value=histogram.sum)
    return family
