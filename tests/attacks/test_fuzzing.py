"""Short fuzz runs over every reader that has one, and what a run says of a failure."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pytest
from attacks.adapters import fuzz as adapter_fuzz
from attacks.fuzzing import Fuzz, main, run
from attacks.gguf import fuzz as gguf_fuzz

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Case:
    """A run's length, and what it must reach: one of only a few checks would prove little."""

    fuzz: Fuzz
    module: ModuleType
    reader: str
    mutations: int
    outcomes: int
    sound: str
    least_sound: int


CASES = (
    Case(gguf_fuzz.FUZZ, gguf_fuzz, "open_gguf", 5_000, 7, "opens", 250),
    Case(adapter_fuzz.FUZZ, adapter_fuzz, "load_adapter", 800, 4, "loads", 60),
)
each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.reader)


@each_case
def test_fuzz(case: Case, tmp_path: Path) -> None:
    outcomes, failures = run(case.fuzz, case.mutations, 7, tmp_path)
    assert failures == []
    assert outcomes.total() == case.mutations
    assert len(outcomes) >= case.outcomes
    assert outcomes[case.sound] > case.least_sound


@each_case
def test_the_same_for_the_same_seed(case: Case, tmp_path: Path) -> None:
    first, _ = run(case.fuzz, 300, 3, tmp_path)
    assert run(case.fuzz, 300, 3, tmp_path)[0] == first
    assert run(case.fuzz, 300, 4, tmp_path)[0] != first


@each_case
def test_what_is_no_error_of_the_reader_is_a_failure(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise MemoryError("too much")

    monkeypatch.setattr(case.module, case.reader, broken)
    outcomes, failures = run(case.fuzz, 20, 1, tmp_path)
    assert outcomes == {"FAILED": 20}
    assert len(failures) == 10
    assert "MemoryError" in failures[0]


@each_case
def test_command_line(case: Case) -> None:
    done = subprocess.run(
        [sys.executable, "-m", case.module.__name__, "--mutations", "100", "--seed", "5"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "100 mutations in" in done.stdout


def test_a_failure_ends_the_command_with_1_and_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: Path) -> str:
        raise MemoryError("too much")

    fuzz = replace(gguf_fuzz.FUZZ, outcome=broken)
    words = ["--mutations", "3", "--seed", "5", "--keep", str(tmp_path)]
    assert main(fuzz, words) == 1
    assert (tmp_path / "failure-5-0.gguf").stat().st_size > 0
    printed = capsys.readouterr()
    assert "3 FAILED" in printed.out
    assert printed.err.count("MemoryError: too much") == 3
