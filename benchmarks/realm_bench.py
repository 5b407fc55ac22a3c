"""`realm bench` of this interpreter's environment, as a process of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import process


def run(
    kind: str,
    model: Path,
    *words: str,
    threads: int,
    repeats: int,
    prompt_tokens: int,
    cores: Sequence[int] | None = None,
) -> dict[str, Any]:
    """The whole answer of `realm bench KIND --json`. Raises SystemExit when it fails.

    words: further options. cores: the only ones it may run on; None for all.
    """
    command = [sys.executable, "-m", "realm.cli.main", "bench", kind, "--json"]
    command += ["--model", str(model), "--threads", str(threads), "--repeats", str(repeats)]
    command += ["--prompt-tokens", str(prompt_tokens), *words]
    return dict(json.loads(process.run(command, cores=cores).stdout))
