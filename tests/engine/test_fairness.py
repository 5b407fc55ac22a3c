"""Virtual tokens of owners."""

import pytest

from realm.engine.fairness import OwnerLedger
from realm.engine.step_cost import StepCostEstimate


def test_rows_cost_by_kind_and_weight() -> None:
    ledger = OwnerLedger(decode_cost=2.0)
    ledger.set_weight("heavy", 4.0)
    for owner in ("heavy", "plain"):
        ledger.arrive(owner)
        ledger.charge(owner, 100, decoding=False)
        ledger.charge(owner, 10, decoding=True)
    assert dict(ledger.virtual) == {"heavy": 30.0, "plain": 120.0}


def test_nobody_saves_up_by_idling_and_nobody_loses_debt_by_leaving() -> None:
    ledger = OwnerLedger()
    for owner, rows in (("busy", 500), ("other", 300), ("indebted", 900)):
        ledger.arrive(owner)
        ledger.charge(owner, rows, decoding=False)
    ledger.settle({"busy", "other"})
    for owner in ("newcomer", "indebted"):
        ledger.arrive(owner)
    assert ledger.virtual["newcomer"] == 300.0
    assert ledger.virtual["indebted"] == 900.0


def test_accounts_that_say_nothing_are_closed() -> None:
    ledger = OwnerLedger()
    for index in range(5000):
        ledger.arrive(f"passer-by-{index}")
    ledger.arrive("rich")
    ledger.charge("rich", 9, decoding=False)
    ledger.arrive("here")
    ledger.settle({"here"})
    assert dict(ledger.virtual) == {"rich": 9.0, "here": 0.0}


def test_the_cost_of_a_step_is_found_from_steps() -> None:
    estimate = StepCostEstimate()
    assert estimate.cost.row_seconds == 0.0
    for index in range(80):
        rows = 1 + index * 37 % 200
        estimate.observe(rows, 0.004 + 0.0003 * rows)
    assert estimate.cost.row_seconds == pytest.approx(0.0003)
    assert estimate.cost.fixed_seconds == pytest.approx(0.004)


def test_steps_that_are_all_alike_have_no_fixed_part() -> None:
    estimate = StepCostEstimate()
    for _ in range(10):
        estimate.observe(16, 0.008)
    assert estimate.cost.row_seconds == pytest.approx(0.0005)
    assert estimate.cost.fixed_seconds == 0.0
