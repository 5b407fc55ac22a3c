"""Every hostile adapter ends in exactly the error that its row names, and a short fuzz run."""

import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from attacks.adapters import files as f
from attacks.adapters import fuzz
from attacks.adapters.attack import Attack
from attacks.adapters.table import ATTACKS

from realm.lora import load_adapter

MEMORY_BYTES = 48 << 20


def test_the_table() -> None:
    assert len(ATTACKS) >= 100
    assert max(Counter(attack.name for attack in ATTACKS).values()) == 1


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack(attack: Attack, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    path = attack.make(folder)
    base = f.base()
    tracemalloc.start()
    try:
        with pytest.raises(attack.error) as raised:
            load_adapter(path, base)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()
    assert raised.type is attack.error
    message = str(raised.value)
    assert message.startswith(str(path))
    assert attack.place in message
    assert message.replace("\0", "").isprintable()
    assert len(message) < len(str(path)) * 2 + 400


def test_what_is_mutated_loads(tmp_path: Path) -> None:
    for seed in fuzz.SEEDS:
        assert fuzz.outcome(seed.write(tmp_path, seed.data())) == "loads", seed.name


def test_fuzz(tmp_path: Path) -> None:
    outcomes, failures = fuzz.run(800, seed=7, folder=tmp_path)
    assert failures == []
    assert outcomes.total() == 800
    # A run that reaches only a few of the checks would prove little.
    assert len(outcomes) >= 4
    assert outcomes["loads"] > 60


def test_fuzz_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    first, _ = fuzz.run(100, seed=3, folder=tmp_path)
    assert fuzz.run(100, seed=3, folder=tmp_path)[0] == first
    assert fuzz.run(100, seed=4, folder=tmp_path)[0] != first


def test_fuzz_reports_what_is_no_adapter_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise MemoryError("too much")

    monkeypatch.setattr(fuzz, "load_adapter", broken)
    outcomes, failures = fuzz.run(20, seed=1, folder=tmp_path)
    assert outcomes == {"FAILED": 20}
    assert len(failures) == 10
    assert "MemoryError" in failures[0]


def test_fuzz_command_line() -> None:
    root = Path(fuzz.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "attacks.adapters.fuzz", "--mutations", "100", "--seed", "5"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "100 mutations in" in done.stdout
