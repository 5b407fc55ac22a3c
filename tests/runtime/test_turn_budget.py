"""What a tenant's programs may take of the engine thread while others are served."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from realm.errors import GuestTrapError, RequestError
from realm.runtime.account import TenantAccount
from realm.runtime.limits import GuestLimits, TenantLimits
from realm.runtime.turn_budget import TurnBudget

from .wat import guest

LIMITS = replace(GuestLimits(memory_bytes=1 << 20), wall_seconds=1e6)
TEXT = "an honest answer of some length " * 3
NAMES = (
    "realm_host_load_model_by_name",
    "realm_session_open",
    "realm_session_prefill",
    "realm_session_sample",
)
# Asks for one token after the other; the host works a whole second on each.
SLOW = """
  (i32.store (i32.const 0) (i32.const 0x656b6166))
  (drop (call $realm_host_load_model_by_name (i32.const 0) (i32.const 4)))
  (drop (call $realm_session_open (i32.const 1)))
  (drop (call $realm_session_prefill (i32.const 1) (i32.const 64) (i32.const 4)))
  (loop $again
    (drop (call $realm_session_sample (i32.const 1) (i32.const 0) (i32.const 128) (i32.const 1)))
    (br $again))
  (i32.const 0)"""


def test_a_long_turn_is_paid_by_time() -> None:
    budget = TurnBudget()
    budget.charge(0.04, 100.0)
    assert not budget.is_spent(100.0), "a burst is free"
    budget.charge(0.11, 100.0)
    assert budget.is_spent(100.0)
    assert budget.is_spent(103.3)
    assert not budget.is_spent(103.4)
    budget.charge(0.04, 1000.0)
    assert not budget.is_spent(1000.0), "old debts are paid, and nothing is saved up"


def test_tokens_pay_for_the_turns_between_them() -> None:
    budget = TurnBudget()
    for _ in range(10_000):
        budget.charge(0.00015, 5.0)
        budget.pay_token()
    assert not budget.is_spent(5.0)
    for _ in range(10_000):
        budget.charge(0.00025, 5.0)
        budget.pay_token()
    assert budget.is_spent(5.0)


class SlowStage:
    """A stage with an honest and a slow tenant. beside: slow calls while the honest one is served.

    The clock goes on by a second a slow call, and a hundredth a step.
    """

    def __init__(self, stage, program) -> None:
        self.stage = stage
        self.clock = [0.0]
        self.call_count = 0
        self.beside = 0
        self.has_called_often = threading.Event()
        self.may_step = threading.Event()
        stage.now = stage.loop._now = lambda: self.clock[0]
        stage.engine.on_step = self._on_step
        self._genuine = stage.engine.sample
        stage.engine.sample = self._sample
        self.slow = stage.tenant(program, LIMITS, "slow")

    def _sample(self, sequence: int, *policy, more: int) -> None:
        sequences = self.stage.engine.sequences
        if sequences[sequence].owner == "slow":
            self.clock[0] += 1.0
            self.call_count += 1
            self.beside += any(each.owner == "honest" for each in sequences.values())
            if self.call_count == 50:
                self.has_called_often.set()
        self._genuine(sequence, *policy, more=more)

    def _on_step(self) -> None:
        self.may_step.wait()
        self.clock[0] += 0.01


@pytest.fixture
def slow_stage(open_stage, compile_wat) -> SlowStage:
    return SlowStage(open_stage(None), compile_wat(guest(SLOW, imports=NAMES)))


def test_slow_calls_between_tokens_hold_no_one_up(slow_stage, default_guest) -> None:
    honest = slow_stage.stage.tenant(default_guest, LIMITS, "honest").stream(TEXT, max_tokens=500)
    slow = slow_stage.slow.stream("x", max_tokens=9)
    slow_stage.may_step.set()
    assert "".join(piece.text for piece in honest) == TEXT
    slow.close()
    assert len(honest.result.token_ids) > 90
    assert 1 <= slow_stage.beside <= 3
    assert not slow_stage.stage.engine.sequences


def test_alone_a_tenant_may_have_all_of_the_time(slow_stage) -> None:
    slow_stage.may_step.set()
    with slow_stage.slow.stream("x", max_tokens=9):
        assert slow_stage.has_called_often.wait(60)


def test_a_program_that_traps_again_and_again_has_to_wait() -> None:
    account = TenantAccount("tenant", TenantLimits())
    for _ in range(5):
        assert not account.turns.is_spent(0.0)
        account.note_failure(GuestTrapError("unreachable"), 0.0)
    account.note_failure(GuestTrapError("unreachable"), 0.0)
    assert account.turns.is_spent(0.0)
    assert account.turns.is_spent(0.05)
    assert not account.turns.is_spent(2.0)
    account.note_failure(RequestError("too long"), 0.0)
    assert not account.turns.is_spent(2.0)
