"""Builds the guest programs from their C sources with Zig's clang (PyPI: ziglang).

Reproducible: the same sources give the same bytes wherever they stand. Never fetches anything.

    python guests/build.py            build every program into its committed place
    python guests/build.py --check    build elsewhere and compare with what is committed
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

GUESTS = Path(__file__).resolve().parent
PROGRAMS = GUESTS.parent / "src" / "realm" / "runtime" / "programs"
SHARED = ("include/arena.c", "include/json.c")
STACK_BYTES = 16 << 10

# program -> (sources besides the shared ones, where the committed artefact stands)
TARGETS = {
    "default": (("default/chat.c", "include/outlet.c"), PROGRAMS / "default.wasm"),
    "layers": (("examples/layers.c",), GUESTS / "examples" / "layers.wasm"),
    "host_generate": (("examples/host_generate.c",), GUESTS / "examples" / "host_generate.wasm"),
}

FLAGS = (
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-fno-builtin",
    "-nostdlib",
    "-g0",
    "-Iinclude",
    "-Wl,--no-entry",
    "-Wl,--export-memory",
    "-Wl,--strip-all",
    f"-Wl,-z,stack-size={STACK_BYTES}",
)


def compile_program(name: str, output: Path, target: str = "wasm32-freestanding") -> None:
    """Writes one program to `output`; raises CalledProcessError when the compiler refuses it."""
    sources, _ = TARGETS[name]
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, *FLAGS]
    command += [*sources, *SHARED, "-o", str(output)]
    subprocess.run(command, cwd=GUESTS, check=True)  # noqa: S603


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the committed programs")
    arguments = parser.parse_args()
    different = []
    for name, (_, committed) in TARGETS.items():
        if not arguments.check:
            compile_program(name, committed)
            print(f"{committed.relative_to(GUESTS.parent)}: {committed.stat().st_size} bytes")
            continue
        with tempfile.TemporaryDirectory() as folder:
            built = Path(folder) / "program.wasm"
            compile_program(name, built)
            if built.read_bytes() != committed.read_bytes():
                different.append(name)
    for name in different:
        print(f"{name}: the committed program is not what its sources build", file=sys.stderr)
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
