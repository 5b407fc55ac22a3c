"""What comes to the engine's thread while it computes: several steps of one call end for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from realm.runtime.limits import GuestLimits

LIMITS = GuestLimits(memory_bytes=1 << 20)
MOMENT = 60.0


class HeldStep:
    """A stage whose engine stands in a step of a first request until it is let go."""

    def __init__(self, stage, program) -> None:
        self.stage = stage
        self.program = program
        self._entered, self._may_go = threading.Event(), threading.Event()
        stage.engine.on_step = self._on_step
        self._first = stage.tenant(program, LIMITS, "first").stream("x", max_tokens=9)
        assert self._entered.wait(MOMENT)

    @property
    def is_interrupted(self) -> bool:
        return self.stage.engine.interrupt.is_set

    def let_go(self) -> str:
        self._may_go.set()
        return "".join(piece.text for piece in self._first)

    def _on_step(self) -> None:
        self._entered.set()
        assert self._may_go.wait(MOMENT)


@pytest.fixture
def held(open_stage, default_guest) -> Iterator[HeldStep]:
    step = HeldStep(open_stage(b"abc"), default_guest)
    yield step
    step.let_go()


def test_nobody_else_wants_anything(held) -> None:
    assert not held.is_interrupted


def test_a_newcomer(held) -> None:
    tenant = held.stage.tenant(held.program, LIMITS, "newcomer")
    stream = tenant.stream("y", max_tokens=2)
    assert held.is_interrupted
    held.let_go()
    list(stream)
    held.stage.engine.on_step = lambda: None
    assert tenant.generate("z", max_tokens=2)
    assert not held.is_interrupted, "what has been heard interrupts no more"


def test_a_message(held) -> None:
    held.stage.loop.call(lambda: None)
    assert held.is_interrupted


def test_a_tenant_that_has_had_more_than_its_share(held) -> None:
    tenant = held.stage.tenant(held.program, LIMITS, "greedy")
    tenant._tenant.account.turns.charge(3600.0, held.stage.now())
    stream = tenant.stream("y", max_tokens=2)
    assert not held.is_interrupted
    held.let_go()
    list(stream)
