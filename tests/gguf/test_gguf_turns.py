"""Long loops let Python's lock go: often enough, and not after every item."""

import itertools
from types import SimpleNamespace

import pytest

from realm.gguf.turns import in_turns


class Clock:
    """Each look at it takes 0.1 ms."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pauses: list[float] = []
        ticks = itertools.count()
        time = SimpleNamespace(perf_counter=lambda: next(ticks) * 1e-4, sleep=self.pauses.append)
        monkeypatch.setattr("realm.gguf.turns.time", time)


def test_pauses_between_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert list(in_turns(range(100))) == list(range(100))
    assert 15 <= len(clock.pauses) <= 25  # of 0.4 ms each
    assert all(0 < pause < 1e-4 for pause in clock.pauses)


def test_short_loops_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert list(in_turns("abc")) == ["a", "b", "c"]
    assert list(in_turns(())) == []
    assert clock.pauses == []
