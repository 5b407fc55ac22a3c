"""The engine's figures as metric families: one row of a table for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from realm.server.front.engine_figures import TenantFigures, engine_figure, read_tenant
from realm.server.wire.messages import Figures


class _Row(NamedTuple):
    """figure: its name among the engine's. metric: without the `_total` that counters get."""

    figure: str
    metric: str
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily]
    text: str


_COUNTER, _GAUGE = CounterMetricFamily, GaugeMetricFamily

TENANT_ROWS = (
    _Row("requests", "realm_engine_requests", _COUNTER, "Requests that ended in the engine."),
    _Row("failures", "realm_engine_failures", _COUNTER, "Requests that failed in the engine."),
    _Row("traps", "realm_guest_traps", _COUNTER, "Programs that trapped."),
    _Row("limits_reached", "realm_guest_limits_reached", _COUNTER, "Programs ended at a limit."),
    _Row("guest_seconds", "realm_guest_seconds", _COUNTER, "Time of programs and host calls."),
    _Row("live_guests", "realm_guests_live", _GAUGE, "Programs that run now."),
    _Row("queued_requests", "realm_requests_queued", _GAUGE, "Requests before their start."),
    _Row("memory_bytes", "realm_guest_memory_bytes", _GAUGE, "Memory of programs."),
    _Row("cache_bytes", "realm_cache_bytes", _GAUGE, "Key-value cache in use."),
    _Row("cache_pages", "realm_cache_pages", _GAUGE, "Pages of the key-value cache in use."),
    _Row("model_bytes", "realm_stored_model_bytes", _GAUGE, "Models that programs stored."),
    _Row("drafted", "realm_drafted_tokens", _COUNTER, "Drafted tokens that were verified."),
    _Row("accepted", "realm_accepted_tokens", _COUNTER, "Drafted tokens that were right."),
)

ENGINE_ROWS = (
    _Row("running", "realm_engine_running", _GAUGE, "Generations and embeddings that run now."),
    _Row("sequences", "realm_sequences", _GAUGE, "Sequences that are open now."),
    _Row("batch_fill", "realm_batch_fill", _GAUGE, "The last step's share of its rows, 0 to 1."),
    _Row("steps", "realm_steps", _COUNTER, "Steps of the engine."),
    _Row("rows", "realm_step_rows", _COUNTER, "Rows that steps computed."),
    _Row("step_seconds", "realm_step_seconds", _COUNTER, "Time in native steps."),
    _Row("preemptions", "realm_preemptions", _COUNTER, "Sequences whose pages were taken back."),
    _Row("reused_pages", "realm_cache_pages_reused", _COUNTER, "Pages shared instead of filled."),
    _Row("free_pages", "realm_cache_pages_free", _GAUGE, "Free pages of all models' caches."),
    _Row("resident_adapters", "realm_adapters_resident", _GAUGE, "Adapters in memory."),
    _Row("resident_adapter_bytes", "realm_adapter_bytes", _GAUGE, "Memory of adapters."),
    _Row("adapter_loads", "realm_adapter_loads", _COUNTER, "Adapters brought into memory."),
    _Row("resident_bytes", "realm_engine_resident_bytes", _GAUGE, "Memory of the engine process."),
)


def engine_families(figures: Figures | None, label: Callable[[str], str]) -> Iterator[Metric]:
    """Families of these figures. label: of a tenant; those with the same are added up.

    Without figures there is only `realm_engine_up`, which is 0 then.
    """
    up = GaugeMetricFamily("realm_engine_up", "Whether the engine process answers.")
    up.add_metric((), float(figures is not None))
    yield up
    if figures is None:
        return
    tenants: dict[str, TenantFigures] = {}
    for tenant_id, told in figures.tenants.items():
        name, read = label(tenant_id), read_tenant(told)
        before = tenants.get(name)
        tenants[name] = read if before is None else before.plus(read)
    for row in TENANT_ROWS:
        family = row.kind(row.metric, row.text, labels=("tenant",))
        for name, each in tenants.items():
            family.add_metric((name,), getattr(each, row.figure))
        yield family
    for row in ENGINE_ROWS:
        if row.figure in figures.engine:
            family = row.kind(row.metric, row.text, labels=())
            family.add_metric((), engine_figure(figures, row.figure))
            yield family
