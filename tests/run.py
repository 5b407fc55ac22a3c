"""Runs every test: those with the oracle in a process of their own, beside all others.

    python tests/run.py [options of pytest for both]

The oracle's tests compute all the time, most others wait for something else or use one core. So
the former have one thread, the lowest priority, and what the latter leave. Their output follows at
the end.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ORACLE = "tests/oracle"
LOWEST_PRIORITY = "19"
NO_TESTS_COLLECTED = 5


def main(options: list[str]) -> int:
    pytest = [sys.executable, "-m", "pytest", *options]
    environment = os.environ | {"REALM_ORACLE_THREADS": "1"}
    root = Path(__file__).parents[1]
    with tempfile.TemporaryFile("w+") as output:
        beside = subprocess.Popen(
            ["nice", "-n", LOWEST_PRIORITY, *pytest, "-p", "no:cacheprovider", ORACLE],
            cwd=root,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            status = subprocess.run([*pytest, f"--ignore={ORACLE}"], cwd=root, check=False)
            statuses = [status.returncode, beside.wait()]
        finally:
            beside.kill()
        output.seek(0)
        print(output.read(), end="", flush=True)
    return next((each for each in statuses if each not in {0, NO_TESTS_COLLECTED}), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
