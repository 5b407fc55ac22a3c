"""Points, limits and delays of the adapters' benchmarks, and the picture of their curves."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest
import svg_plot
import tenants
import tenants_contest
import tenants_loading
from tests.tiny_model import TinyModel

from realm.model import ModelStorage


def test_every_panel_has_points_with_no_more_adapters_than_tenants():
    for quick in (False, True):
        points = tenants.points_of(quick=quick)
        assert tuple(points) == tenants.PANELS
        for panel in points.values():
            assert all(point.adapters <= point.tenants for point in panel.values())
    ranks, counts = tenants.points_of(quick=False)["rank"], tenants.points_of(quick=False)
    assert (min(ranks), max(ranks)) == (4, 64)
    assert (min(counts["adapters"]), max(counts["adapters"])) == (1, 128)


def test_the_limit_counts_weights_cache_and_adapters():
    figure = tenants.figures(tenants.Point(4, 2, 16), (0.01, 0.02), (300, 100), 4000.0)
    assert figure["tokens_per_second"] == 200.0
    assert figure["base_tokens_per_second"] == 400.0
    assert figure["share_of_base"] == 0.5
    assert figure["bandwidth_limit"] == 40.0


def test_a_small_model_is_measured_and_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(tenants.curves, "PROBE_BYTES", 1 << 20)
    model = ModelStorage(2).load(TinyModel().write(tmp_path / "tiny.gguf"))
    curves = tenants.measure(model, 2, 1, "int8", quick=True)
    assert set(curves["rank"]) == set(tenants.QUICK_RANKS)
    assert set(curves["tenants"]) == set(tenants.QUICK_COUNTS)
    sizes = [point["adapter_bytes"] for point in curves["adapters"].values()]
    assert sizes == [sizes[0] * count for count in tenants.QUICK_COUNTS]
    document = {
        "machine": {"processor": "any"}, "threads": 2, "model": "tiny", "precision": "int8",
        "curves": curves,
    }  # fmt: skip
    root = ElementTree.fromstring(svg_plot.draw(document, tenants.PANELS, tenants.SERIES))
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {*tenants.PANELS, "with adapters", "without", "read bandwidth"} <= set(texts)
    rows = tenants.table(document).splitlines()
    points = sum(len(curves[panel]) for panel in tenants.PANELS)
    assert len(rows) == 1 + len(tenants.PANELS) + points


def test_the_contest_compares_within_rounds():
    pair = tenants_contest.Pair
    found = {
        tenants_contest.REALM: [pair(900.0, 1500.0, 1), pair(450.0, 750.0, 1)],
        tenants_contest.LLAMA: [pair(90.0, 300.0, 1), pair(45.0, 150.0, 1)],
    }
    lines = tenants_contest.table(found).splitlines()
    assert lines[-2].endswith("adapters: 10.00 (10.00-10.00)")
    assert lines[-1].endswith("base: 0.60 (0.60-0.60)")


def test_delays_are_of_steps_that_meet_a_load():
    ends = [0.0, 1.0, 2.0, 4.0, 7.0, 8.0, 10.0]  # calls of one step, but for the third: two
    steps = [1, 1, 2, 1, 1, 1]
    gaps = [
        tenants_loading.Gap(begin, end, count)
        for (begin, end), count in zip(pairwise(ends), steps, strict=True)
    ]
    found = tenants_loading.delays([tenants_loading.Round([(3.9, 4.1)], gaps, lent=0.1)])
    assert found["median_step_seconds"] == 1.0
    assert (found["calls_beside_a_load"], found["calls_alone"]) == (2, 4)
    assert found["largest_delay_beside_a_load_seconds"] == 2.0  # the call from 4 to 7
    assert found["median_delay_beside_a_load_seconds"] == 1.0
    assert found["largest_delay_alone_seconds"] == 1.0


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100)])
def test_percentiles(share, expected):
    assert tenants_loading.percentile(list(range(100, 0, -1)), share) == expected
