"""What stands in deploy/ fits the server that it deploys."""

import configparser
import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from realm.server.front.engine_metrics import ENGINE_ROWS
from realm.server.front.metrics import FrontMetrics
from realm.server.settings import load_settings
from realm.server.wire.messages import Figures

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "realm.json").read_text())
PANELS = [each for each in DASHBOARD["panels"] if each["type"] != "row"]
_NAME = re.compile(r"\b(?:realm|process|python)_[a-z_]+\b")


@pytest.fixture(scope="module")
def labels():
    """The labels of every sample that a server gives, by the sample's name."""
    metrics = FrontMetrics()
    metrics.generation_started("acme")
    metrics.first_token("acme", 0.1)
    metrics.generation_ended("acme", "chat", "stop", 1.0, 1, 1)
    metrics.generation_refused("acme", "RateLimitError")
    metrics.request_ended("/v1/models", 200, 0.1)
    figures = Figures(0, {"acme": {}}, {row.figure: 1.0 for row in ENGINE_ROWS})
    found = {}
    for family in text_string_to_metric_families(metrics.render(figures).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_expression_names_metrics_and_labels_that_there_are(panel, labels):
    for target in panel["targets"]:
        text = target["expr"]
        names = set(_NAME.findall(text))
        assert names
        assert names <= labels.keys()
        of_labels = re.findall(r"([a-z_]+)\s*(?:=~|!=|=)\s*\"", text)
        of_labels += [
            each.strip()
            for group in re.findall(r"\bby \(([^)]*)\)", text)
            for each in group.split(",")
        ]
        of_labels += re.findall(r"\{\{([a-z_]+)\}\}", target["legendFormat"])
        for name in of_labels:
            assert all(name in labels[metric] for metric in names), name
        for counter in (name for name in names if name.endswith(("_total", "_bucket"))):
            # A counter by itself only says how long the server has run.
            assert re.search(rf"(rate|increase)\({counter}\b", text)


def test_every_metric_of_a_tenant_is_on_the_dashboard_or_derived(labels):
    shown = set(_NAME.findall(json.dumps(DASHBOARD)))
    families = {re.sub(r"_(total|bucket|count|sum|created)$", "", name) for name in labels}
    shown = {re.sub(r"_(total|bucket)$", "", name) for name in shown}
    missing = {each for each in families if each.startswith("realm_")} - shown
    assert missing <= {
        "realm_engine_requests",  # realm_generations says it by outcome
        "realm_engine_failures",
        "realm_engine_running",
        "realm_generation_seconds",
        "realm_prompt_tokens",
        "realm_sequences",
        "realm_stored_model_bytes",
        "realm_cache_pages_reused",
    }


def test_the_dashboard_can_be_taken_in():
    ids = [each["id"] for each in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(0 <= x < 24 for x, _ in cells)
        taken |= cells
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]+)\b", json.dumps(PANELS))) <= variables
    assert "uid" not in DASHBOARD["templating"]["list"][0]


def test_the_image_does_not_run_as_root():
    text = (DEPLOY / "Dockerfile").read_text()
    last = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER (?!0\b|root\b)\S+$", last, re.MULTILINE)
    assert 'CMD ["serve", "--host", "0.0.0.0"]' in last
    assert "COPY . ." not in last


def test_the_units_settings_are_settings(tmp_path):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(DEPLOY / "realm.service")
    service = parser["Service"]
    environment = dict(each.split("=", 1) for each in service["Environment"].split())
    settings = load_settings(None, environment, {})
    assert settings.log_format == "json"
    assert str(settings.data_directory).startswith("/var/lib/realm")
    assert settings.drain_seconds < float(service["TimeoutStopSec"])
    for name in ("NoNewPrivileges", "DynamicUser", "PrivateTmp", "ProtectHome"):
        assert service[name] == "yes"
    assert service["ExecStart"].endswith("realm serve")


def test_the_images_settings_are_settings():
    text = (DEPLOY / "Dockerfile").read_text()
    environment = dict(re.findall(r"\b(REALM_[A-Z_]+)=(\S+)", text))
    settings = load_settings(None, environment, {"host": "0.0.0.0"})
    assert settings.log_format == "json"
    assert str(settings.data_directory) == "/data/server"
