"""The campaign's data, a contest held by fakes, and its drawing."""

from pathlib import Path
from xml.etree import ElementTree

import campaign_plot
import contest_rows
import contests
import pytest
import svg_plot
from contestants import Figure
from missing import UnavailableError

LINES = frozenset(contests.LINES)


class FakeField:
    """Every contestant is twice as fast as the one before; vLLM cannot be had."""

    def __init__(self):
        self.measured = []

    def model(self, name):
        if name == "SmolLM2 F16":
            raise UnavailableError("no llama-quantize")
        return Path(name)

    def contestant(self, name, model, case):
        if name == contests.VLLM:
            raise UnavailableError("no wheel")

        def measure():
            self.measured.append(name)
            return Figure(200.0 if name == contests.REALM else 100.0, 1 << 20)

        return measure


def contest_of(model, case):
    return next(c for c in contests.CONTESTS if c.model == model and c.case.name == case)


def test_every_line_has_its_rows_and_every_model_a_source():
    lines = {pair.line for contest in contests.CONTESTS for pair in contest.pairs}
    assert lines | {"4", "8"} == LINES
    for contest in contests.CONTESTS:
        assert contest.model in contests.CATALOG_NAMES.keys() | contests.REQUANTISED.keys()


def test_each_contestant_is_measured_once_a_round_for_all_its_rows():
    field = FakeField()
    contest = contest_of(contests.SMOLLM2, "decode 1")
    rows, raw = contest_rows.hold(contest, field, LINES, 3)
    assert field.measured.count(contests.REALM) == 3
    assert [row.against for row in rows] == [pair.theirs for pair in contest.pairs]
    assert [row.share and row.share.median for row in rows] == [2.0, 2.0, None, 2.0, 2.0]
    assert rows[2].missing == "no wheel"
    assert raw["missing"] == {contests.VLLM: "no wheel"}
    assert raw["tokens_per_second"][contests.REALM] == [200.0] * 3


def test_only_the_chosen_lines_are_measured():
    field = FakeField()
    contest = contest_of(contests.SMOLLM2, "decode 1")
    rows, _ = contest_rows.hold(contest, field, frozenset(["sandbox"]), 1)
    assert len(rows) == 1
    assert set(field.measured) == {contests.REALM, contests.DIRECT}


def test_a_model_that_cannot_be_made_leaves_rows_that_say_so():
    rows, raw = contest_rows.hold(contest_of("SmolLM2 F16", "decode 16"), FakeField(), LINES, 2)
    assert [row.missing for row in rows] == ["no llama-quantize"]
    assert raw["tokens_per_second"] == {}


@pytest.mark.parametrize("curve_count", [0, 2])
def test_the_drawing_is_one_well_formed_picture(curve_count):
    rows, _ = contest_rows.hold(contest_of("SmolLM2 Q8_0", "decode 16"), FakeField(), LINES, 1)
    limits = {"bandwidth_limit": 300.0, "arithmetic_limit": 900.0}
    points = {
        "1": {"tokens_per_second": 100.0} | limits,
        "2": {"tokens_per_second": 190.0} | limits,
    }
    head = {"machine": {"processor": "A & B"}, "threads": 2}
    curve = head | {"model": "tiny <1>", "curves": dict.fromkeys(svg_plot.PANELS, points)}
    document = head | {"rows": [r.document() for r in rows], "curves": [curve] * curve_count}
    root = ElementTree.fromstring(campaign_plot.draw(document))
    name = "{http://www.w3.org/2000/svg}"
    assert len(root.findall(f"{name}svg")) == curve_count
    assert "2.00" in [text.text for text in root.findall(f"{name}text")]
