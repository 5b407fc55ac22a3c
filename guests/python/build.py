"""Builds a program in Python as a component (`pip install componentize-py`).

    python guests/python/build.py                             the example, as build/first_words.wasm
    python guests/python/build.py mine/program.py -o x.wasm   a program of one's own

Only modules that are imported while it is built are in it, and nothing of WASI: no files, no
clock, no network.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE / "first_words.py"
OUTPUT = HERE.parents[1] / "build"
# The package has no module to run, only the command that pip installs.
_BUILDER = "from componentize_py import script; script()"


def build(source: Path, output: Path) -> None:
    """Raises CalledProcessError with the builder's own words on the terminal."""
    with tempfile.TemporaryDirectory() as folder:
        # A path of this machine would end up in the program's tracebacks.
        for path in (HERE / "realm_guest.py", HERE / "realm.wit", source):
            (Path(folder) / path.name).write_bytes(path.read_bytes())
        command = [sys.executable, "-c", _BUILDER, "-d", "realm.wit", "-w", "program"]
        command += ["componentize", "--stub-wasi", source.stem, "-o", str(output.resolve())]
        subprocess.run(command, cwd=folder, check=True)  # noqa: S603


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, nargs="?", default=EXAMPLE, help="(the example)")
    parser.add_argument("--output", "-o", type=Path, help="(build/NAME.wasm)")
    arguments = parser.parse_args()
    if importlib.util.find_spec("componentize_py") is None:
        print("componentize-py is missing: pip install componentize-py", file=sys.stderr)
        return 1
    output = arguments.output or OUTPUT / f"{arguments.source.stem}.wasm"
    output.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    build(arguments.source, output)
    seconds = time.perf_counter() - started
    print(f"{output}: {output.stat().st_size} bytes in {seconds:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
