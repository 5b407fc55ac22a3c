"""Turns, ratios and rows: what stands between a measurement and the table."""

import pytest
import rounds
import table_rows
from table_rows import Row


def test_every_round_begins_with_another_contestant():
    order = []
    field = {name: (lambda name=name: order.append(name) or len(order)) for name in "abc"}
    heard = []
    found = rounds.in_turns(field, 4, lambda number, name, figure: heard.append((number, name)))
    assert "".join(order) == "abc" + "bca" + "cab" + "abc"
    assert found == {"a": [1, 6, 8, 10], "b": [2, 4, 9, 11], "c": [3, 5, 7, 12]}
    assert heard[3] == (2, "b")


def test_a_ratio_never_mixes_rounds():
    # The machine halves its speed for the second round; the ratio does not move.
    found = rounds.ratio([200.0, 100.0, 210.0], [100.0, 50.0, 100.0])
    assert (found.median, found.lowest, found.highest) == pytest.approx((2.0, 2.0, 2.1))
    with pytest.raises(ValueError, match="shorter"):
        rounds.ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("median", "wanted", "at_most", "met"),
    [
        (2.31, 2.3, False, True),
        (2.29, 2.3, False, False),
        (0.04, 0.05, True, True),
        (0.06, 0.05, True, False),
        (9.0, None, False, None),
    ],
)
def test_met_goes_by_the_median(median, wanted, at_most, met):
    share = rounds.spread([median, 0.001, 99.0])
    row = Row("1", "decode", "peer", share=share, wanted=wanted, at_most=at_most)
    assert row.met is met
    assert row.document()["met"] is met


def test_a_row_without_figures_says_why_and_never_counts_as_met():
    missing = Row("1", "decode", "vllm", wanted=1.0, missing="no wheel for this machine")
    measured = Row(
        "1", "decode", "llama", figure=1234.5, other=5.0, share=rounds.spread([2.0]), wanted=3.0
    )
    text = table_rows.table([missing, measured])
    assert "not available: no wheel for this machine" in text
    assert missing.met is None
    assert "1,234.5 tok/s" in text
    assert "5.000 tok/s" in text
    assert text.splitlines()[2].endswith("NO")
    assert len({line.index(">=") for line in text.splitlines()[1:]}) == 1
