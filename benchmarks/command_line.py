"""The options that most benchmarks have: one name, one default and one help of each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

_OPTIONS: dict[str, dict[str, Any]] = {
    "model": {"default": "smollm2", "help": "a catalog name or a file (smollm2)"},
    "threads": {"type": int, "default": 2},
    "repeats": {"type": int, "default": 3, "help": "runs inside each process"},
    "output": {"type": Path, "help": "the JSON file (benchmarks/results/local/...)"},
}


def parser(about: str, *options: str) -> argparse.ArgumentParser:
    """With these options of the four; a benchmark adds its own.

    about: the module's docstring, whose first line says what is measured.
    """
    found = argparse.ArgumentParser(description=about.partition("\n")[0])
    for name in options:
        found.add_argument(f"--{name}", **_OPTIONS[name])
    return found
