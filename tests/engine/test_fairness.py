"""Virtual tokens of owners."""

from realm.engine.fairness import OwnerLedger


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


def test_who_is_away_for_moments_keeps_what_it_is_owed_and_who_stays_away_does_not() -> None:
    ledger = OwnerLedger()
    for owner in ("reader", "flood"):
        ledger.arrive(owner)
    ledger.settle({"reader", "flood"})
    ledger.charge("flood", 5000, decoding=False)
    for _ in range(60):
        ledger.settle({"flood"})
    ledger.arrive("reader")
    assert ledger.virtual["reader"] == 0.0
    for _ in range(200):
        ledger.settle({"flood"})
    ledger.arrive("reader")
    assert ledger.virtual["reader"] == 5000.0


def test_accounts_that_say_nothing_are_closed() -> None:
    ledger = OwnerLedger()
    for index in range(5000):
        ledger.arrive(f"passer-by-{index}")
    ledger.arrive("rich")
    ledger.charge("rich", 9, decoding=False)
    ledger.arrive("here")
    ledger.settle({"here"})
    assert dict(ledger.virtual) == {"rich": 9.0, "here": 0.0}
