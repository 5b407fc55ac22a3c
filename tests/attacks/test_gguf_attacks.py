"""Every hostile GGUF ends in exactly the error that its row names, and a short fuzz run."""

import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from attacks.gguf import fuzz
from attacks.gguf.attack import Attack
from attacks.gguf.files import model_file
from attacks.gguf.table import ATTACKS

from realm.gguf import open_gguf

MEMORY_BYTES = 16 << 20


def test_the_table() -> None:
    assert len(ATTACKS) >= 30
    assert max(Counter(attack.name for attack in ATTACKS).values()) == 1


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_attack(attack: Attack, tmp_path: Path) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(attack.make())
    tracemalloc.start()
    try:
        with pytest.raises(attack.error) as raised:
            open_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()
    assert raised.type is attack.error
    assert str(raised.value).startswith(f"{path}: ")
    assert attack.place in str(raised.value)
    assert str(raised.value).isprintable()


def test_the_file_that_is_mutated_opens(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(model_file())
    assert fuzz.outcome(path) == "opens"


def test_fuzz(tmp_path: Path) -> None:
    outcomes, failures = fuzz.run(5_000, seed=7, folder=tmp_path)
    assert failures == []
    assert outcomes.total() == 5_000
    # A run that reaches only a few of the checks would prove little.
    assert len(outcomes) >= 7
    assert outcomes["opens"] > 250


def test_fuzz_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    first, _ = fuzz.run(300, seed=3, folder=tmp_path)
    assert fuzz.run(300, seed=3, folder=tmp_path)[0] == first
    assert fuzz.run(300, seed=4, folder=tmp_path)[0] != first


def test_fuzz_reports_what_is_no_gguf_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Path) -> None:
        raise MemoryError("too much")

    monkeypatch.setattr(fuzz, "open_gguf", broken)
    outcomes, failures = fuzz.run(20, seed=1, folder=tmp_path)
    assert outcomes == {"FAILED": 20}
    assert len(failures) == 10
    assert "MemoryError" in failures[0]


def test_fuzz_command_line() -> None:
    root = Path(fuzz.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "attacks.gguf.fuzz", "--mutations", "200", "--seed", "5"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "200 mutations in" in done.stdout
