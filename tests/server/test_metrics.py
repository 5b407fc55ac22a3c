"""What the front counts, in Prometheus' format, with labels that clients cannot make grow."""

import math
from dataclasses import fields

import pytest
from prometheus_client.parser import text_string_to_metric_families

from realm.errors import RealmError
from realm.runtime.engine_figures import EngineFigures
from realm.server.front.engine_metrics import ENGINE_ROWS, TENANT_ROWS
from realm.server.front.histogram import Histogram
from realm.server.front.label_book import OTHER, LabelBook
from realm.server.front.metrics import FrontMetrics
from realm.server.wire.messages import Figures


def _samples(metrics, figures=None):
    text = metrics.render(figures).decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def _of(name, **labels):
    return (name, *sorted(labels.items()))


def _one_of_each(metrics, tenant="acme"):
    metrics.generation_started(tenant)
    metrics.first_token(tenant, 0.07)
    metrics.next_token(tenant, 0.004)
    metrics.next_token(tenant, 0.004)
    metrics.generation_ended(tenant, "chat", "stop", 0.08, 7, 3)
    metrics.generation_refused(tenant, "RateLimitError")
    metrics.request_ended("/v1/chat/completions", 200, 0.08)


def test_one_generation():
    metrics = FrontMetrics()
    _one_of_each(metrics)
    metrics.generation_started("acme")
    told = _samples(metrics)
    assert told[_of("realm_generations_running", tenant="acme")] == 1
    assert told[_of("realm_prompt_tokens_total", tenant="acme")] == 7
    assert told[_of("realm_completion_tokens_total", tenant="acme")] == 3
    assert told[_of("realm_generations_total", tenant="acme", outcome="stop")] == 1
    refused = _of("realm_generations_refused_total", tenant="acme", reason="RateLimitError")
    assert told[refused] == 1
    first = "realm_time_to_first_token_seconds"
    assert told[_of(f"{first}_count", tenant="acme")] == 1
    assert told[_of(f"{first}_sum", tenant="acme")] == pytest.approx(0.07)
    assert told[_of(f"{first}_bucket", tenant="acme", le="0.05")] == 0
    assert told[_of(f"{first}_bucket", tenant="acme", le="0.1")] == 1
    assert told[_of("realm_inter_token_seconds_count", tenant="acme")] == 2
    route = "/v1/chat/completions"
    assert told[_of("realm_http_requests_total", route=route, status="200")] == 1
    assert told[_of("realm_http_request_seconds_count", route=route)] == 1
    assert told[_of("realm_generation_seconds_count", route="chat")] == 1
    assert told[_of("realm_engine_up")] == 0
    assert metrics.running == 1


def test_the_engines_figures():
    figures = Figures(
        0,
        {
            "acme": {
                "requests": 4,
                "traps": 2,
                "guest_seconds": 0.5,
                "cache_pages": 9,
                "speculation": {"by_source": {"suffix": {"drafted": 20, "accepted": 15}}},
            },
            "globex": {"requests": 1},
        },
        {"batch_fill": 0.75, "resident_adapters": 3},
    )
    told = _samples(FrontMetrics(), figures)
    assert told[_of("realm_engine_up")] == 1
    assert told[_of("realm_engine_requests_total", tenant="acme")] == 4
    assert told[_of("realm_engine_requests_total", tenant="globex")] == 1
    assert told[_of("realm_guest_traps_total", tenant="acme")] == 2
    assert told[_of("realm_guest_seconds_total", tenant="acme")] == 0.5
    assert told[_of("realm_cache_pages", tenant="acme")] == 9
    assert told[_of("realm_drafted_tokens_total", tenant="acme")] == 20
    assert told[_of("realm_accepted_tokens_total", tenant="acme")] == 15
    assert told[_of("realm_batch_fill")] == 0.75
    assert told[_of("realm_adapters_resident")] == 3


def test_ten_thousand_tenants_share_a_bounded_number_of_labels():
    metrics = FrontMetrics(labelled_tenants=5)
    tenants = [f"tenant-{each}" for each in range(10_000)]
    for tenant in tenants:
        _one_of_each(metrics, tenant)
    figures = Figures(0, {tenant: {"requests": 2} for tenant in tenants}, {})
    told = _samples(metrics, figures)
    labels = {dict(key[1:]).get("tenant") for key in told} - {None}
    assert labels == {*tenants[:5], OTHER}
    assert told[_of("realm_prompt_tokens_total", tenant="tenant-0")] == 7
    assert told[_of("realm_prompt_tokens_total", tenant=OTHER)] == 7 * 9995
    assert told[_of("realm_inter_token_seconds_count", tenant=OTHER)] == 2 * 9995
    assert told[_of("realm_engine_requests_total", tenant=OTHER)] == 2 * 9995
    assert told[_of("realm_generations_running", tenant=OTHER)] == 0
    assert len(told) < 600


def test_routes_statuses_and_outcomes_are_bounded_whatever_is_told():
    metrics = FrontMetrics()
    for each in range(5000):
        metrics.request_ended(f"/raw/{each}", each, 0.1)
        metrics.generation_started("acme")
        metrics.generation_ended("acme", f"route-{each}", f"reason of a program {each}", 1.0, 1, 1)
        metrics.generation_refused("acme", f"reason {each}")
    told = _samples(metrics)
    assert told[_of("realm_generations_total", tenant="acme", outcome=OTHER)] == 5000
    assert told[_of("realm_generations_refused_total", tenant="acme", reason=OTHER)] == 5000
    assert len({dict(key[1:]).get("route") for key in told}) <= 102
    assert len({dict(key[1:]).get("status") for key in told}) <= 502


def test_every_error_may_be_an_outcome():
    metrics = FrontMetrics()
    kinds = [RealmError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    names = {kind.__name__ for kind in kinds if kind.__module__ == "realm.errors"}
    for name in names:
        metrics.generation_refused("acme", name)
    told = _samples(metrics)
    assert {dict(key[1:]).get("reason") for key in told} - {None} == names


def test_a_tenant_that_was_removed_gives_its_label_back():
    metrics = FrontMetrics(labelled_tenants=1)
    _one_of_each(metrics, "first")
    _one_of_each(metrics, "second")
    metrics.generation_started("first")
    metrics.keep_tenants({"second"})  # still runs: its end must find what was counted
    metrics.generation_ended("first", "chat", "stop", 1.0, 1, 1)
    assert _samples(metrics)[_of("realm_generations_running", tenant="first")] == 0
    metrics.keep_tenants({"first", "second"})
    assert _samples(metrics)[_of("realm_prompt_tokens_total", tenant="first")] == 8
    metrics.keep_tenants({"second"})
    _one_of_each(metrics, "third")
    labels = {dict(key[1:]).get("tenant") for key in _samples(metrics)} - {None}
    assert labels == {"third", OTHER}


def test_names_that_would_break_the_format():
    metrics = FrontMetrics()
    name = 'a"b\\c\nrealm_engine_up 7\n{}'
    _one_of_each(metrics, name)
    told = _samples(metrics, Figures(0, {name: {}}, {}))
    assert told[_of("realm_prompt_tokens_total", tenant=name)] == 7
    assert told[_of("realm_engine_up")] == 1


def test_a_tenant_called_other_shares_that_label():
    book = LabelBook(2)
    assert [book.label(each) for each in (OTHER, "a", "b", "c", "a")] == [
        OTHER, "a", "b", OTHER, "a",
    ]  # fmt: skip
    book.forget("a")
    assert [book.label(each) for each in ("c", "a")] == ["c", OTHER]


def test_no_metric_stands_twice():
    figures = Figures(0, {"acme": {}}, {row.figure: 1.0 for row in ENGINE_ROWS})
    metrics = FrontMetrics()
    _one_of_each(metrics)
    names = [
        line.split()[2]
        for line in metrics.render(figures).decode().splitlines()
        if line.startswith("# TYPE")
    ]
    assert len(names) == len(set(names))
    for row in (*TENANT_ROWS, *ENGINE_ROWS):
        assert row.metric in names or f"{row.metric}_total" in names


def test_a_histogram_counts_each_once():
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.0, 0.1, 0.100001, 1.0, 5.0, math.inf):
        histogram.add(seconds)
    assert histogram.buckets() == [("0.1", 2), ("1.0", 4), ("+Inf", 6)]
    assert histogram.sum == math.inf


def test_every_figure_of_the_engine_is_a_metric():
    told = {"running", "resident_bytes"} | {each.name for each in fields(EngineFigures)}
    assert {row.figure for row in ENGINE_ROWS} == told
