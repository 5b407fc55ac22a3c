"""The default program is what its sources build; all programs fit the contract and stay small."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from realm.runtime.program import default_program

GUESTS = Path(__file__).parents[2] / "guests"


def test_the_sources_build_the_committed_default_program():
    subprocess.run([sys.executable, str(GUESTS / "build.py"), "--check"], check=True)


def test_the_default_program_builds_for_wide_addresses_too(host, guest_build, tmp_path):
    guest_build.build_default(tmp_path / "program.wasm", wide=True)
    assert host.inspect((tmp_path / "program.wasm").read_bytes()).memory_is_64


def test_every_example_fits_the_contract_in_both_widths(host, guest_build, example_program):
    assert len(guest_build.EXAMPLES) >= 8
    for name in guest_build.EXAMPLES:
        host.compile(example_program(name))
        host.compile(example_program(name, wide=True))
        assert len(example_program(name)) < 32 << 10


def test_no_path_of_a_machine_is_inside(guest_build, example_program):
    programs = [default_program(), *map(example_program, guest_build.EXAMPLES)]
    for wasm in programs:
        for part in (b".c\0", b"/home", b"/tmp", b"/usr", b"clang", str(GUESTS).encode()):
            assert part not in wasm
