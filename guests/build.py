"""Builds the guest programs from their C sources, the way `realm guests build` does.

Reproducible: the same sources give the same bytes wherever they stand. Only the default program is
committed in its compiled form; tests build the examples.

    python guests/build.py                      build the default program into its place
    python guests/build.py --check              build it elsewhere and compare with that
    python guests/build.py --examples FOLDER    build every example into a folder
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from realm.cli.guest_compiler import compile_guest

GUESTS = Path(__file__).resolve().parent
DEFAULT = GUESTS.parent / "src" / "realm" / "runtime" / "programs" / "default.wasm"
EXAMPLES = {path.stem: path.relative_to(GUESTS) for path in sorted(GUESTS.glob("examples/*.c"))}


def build_default(output: Path, *, wide: bool = False) -> None:
    """Writes the default program."""
    compile_guest([Path("default/chat.c")], output, wide=wide, working_directory=GUESTS)


def build_example(name: str, output: Path, *, wide: bool = False) -> None:
    """Writes one of EXAMPLES."""
    compile_guest([EXAMPLES[name]], output, wide=wide, working_directory=GUESTS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="compare with the committed program")
    choice.add_argument("--examples", type=Path, metavar="FOLDER", help="build the examples there")
    arguments = parser.parse_args()
    if arguments.examples is not None:
        arguments.examples.mkdir(parents=True, exist_ok=True)
        for name in EXAMPLES:
            output = arguments.examples.resolve() / f"{name}.wasm"
            build_example(name, output)
            print(f"{output}: {output.stat().st_size} bytes")
        return 0
    if not arguments.check:
        build_default(DEFAULT)
        print(f"{DEFAULT.relative_to(GUESTS.parent)}: {DEFAULT.stat().st_size} bytes")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "program.wasm"
        build_default(built)
        if built.read_bytes() != DEFAULT.read_bytes():
            print("the committed default program is not what its sources build", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
