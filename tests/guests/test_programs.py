"""The committed programs are what their sources build, and stay small and pure."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from realm.runtime.limits import HostLimits
from realm.runtime.program import GuestHost

GUESTS = Path(__file__).parents[2] / "guests"


def load_build():
    spec = importlib.util.spec_from_file_location("guest_build", GUESTS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILD = load_build()
NAMES = list(BUILD.TARGETS)
HAS_COMPILER = importlib.util.find_spec("ziglang") is not None


@pytest.fixture(scope="module")
def host() -> GuestHost:
    return GuestHost(HostLimits(guest_count=4, memory_bytes=1 << 20))


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_program_fits_the_contract(host, name):
    wasm = BUILD.TARGETS[name][1].read_bytes()
    assert len(wasm) < 32 << 10
    host.compile(wasm)


@pytest.mark.parametrize("name", NAMES)
def test_no_path_of_a_machine_is_inside(name):
    wasm = BUILD.TARGETS[name][1].read_bytes()
    for part in (b".c\0", b"/home", b"/tmp", b"/usr", b"clang", str(GUESTS).encode()):
        assert part not in wasm


if HAS_COMPILER:

    def test_the_sources_build_the_committed_programs():
        subprocess.run([sys.executable, str(GUESTS / "build.py"), "--check"], check=True)

    @pytest.mark.parametrize("name", NAMES)
    def test_the_sources_build_for_wide_addresses_too(host, tmp_path, name):
        output = tmp_path / "program.wasm"
        BUILD.compile_program(name, output, target="wasm64-freestanding")
        host.compile(output.read_bytes())
