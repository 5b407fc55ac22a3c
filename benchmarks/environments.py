"""Python environments of the peers, each with one package; nothing of them enters Realm's."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from missing import UnavailableError


def ensure(
    folder: Path, package: str, *, also: Sequence[str] = (), without: Sequence[str] = ()
) -> Path:
    """The interpreter of the environment in `folder`, which is made when it is not whole yet.

    also: packages that are installed beside it; without: what is taken out again. Raises
    UnavailableError with the reason, and leaves the installer's messages beside the folder.
    """
    python, whole = folder / "bin" / "python", folder / "installed"
    if whole.exists() and whole.read_text(encoding="utf-8") == package:
        return python
    print(f"installing {package} under {folder} (some minutes, once)", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    steps = [["install", package, *also]]
    if without:
        steps.append(["uninstall", "--yes", *without])
    log = folder.with_suffix(".log")
    with log.open("wb") as output:
        for step in steps:
            command = [str(python), "-m", "pip", *step, "--quiet", "--disable-pip-version-check"]
            if subprocess.run(command, stdout=output, stderr=output, check=False).returncode:
                shutil.rmtree(folder)
                raise UnavailableError(f"{package} cannot be installed here, see {log.name}")
    whole.write_text(package, encoding="utf-8")
    return python
