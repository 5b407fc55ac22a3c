"""A folder of adapters by name: each content is kept once, under its digest.

An adapter enters only whole, checked against a base, and copied: what a name means does not change
when its first file does. The index is replaced whole, under a lock that other processes see.

    <folder>/index.json
    <folder>/contents/<digest>/adapter.gguf, or the two files of a PEFT folder
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from realm.errors import AdapterError, AdapterNotFoundError, AdapterOpenError
from realm.lora.adapter import Adapter
from realm.lora.base import AdapterBase
from realm.lora.load import load_adapter
from realm.lora.peft_folder import CONFIG_FILE, WEIGHTS_FILE

_VERSION = 1
_GGUF_FILE = "adapter.gguf"
_LONGEST_NAME = 200
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class AdapterRecord:
    """One name. digest: of the content, hexadecimal. file: within the registry's folder.

    projections: which products it changes, by name. source: the path that it was added from.
    """

    name: str
    digest: str
    file: str
    architecture: str
    rank: int
    projections: tuple[str, ...]
    parameter_count: int
    size_bytes: int
    source: str


def default_adapter_directory() -> Path:
    """`$REALM_HOME/adapters`, or `~/.cache/realm/adapters` where REALM_HOME is not set.

    Raises AdapterOpenError where there is no home either.
    """
    home = os.environ.get("REALM_HOME")
    return (Path(home) if home else _expand_user(Path("~/.cache/realm"))) / "adapters"


class AdapterRegistry:
    """Adapters in one folder. Made at the first `add`."""

    def __init__(self, directory: Path | None = None) -> None:
        """directory: `default_adapter_directory()` when left out. Raises AdapterOpenError for one
        of a user that there is not.
        """
        self.directory = _expand_user(directory or default_adapter_directory()).absolute()
        self._index = self.directory / "index.json"

    def add(self, name: str, path: Path, base: AdapterBase) -> AdapterRecord:
        """Check the adapter at `path` against `base`, copy it, and give it this name.

        A name that is taken means the new adapter from now on. Raises an AdapterError; then
        nothing is changed.
        """
        if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
            raise AdapterError(f"a name of 1 to {_LONGEST_NAME} printable characters is needed")
        adapter = load_adapter(path, base)
        with self._changing() as records:
            file, size_bytes = self._copy(path, adapter, base)
            record = AdapterRecord(
                name=name,
                digest=adapter.digest.hex(),
                file=file,
                architecture=base.architecture,
                rank=adapter.largest_rank,
                projections=tuple(
                    sorted({target.projection.name.lower() for target in adapter.factors})
                ),
                parameter_count=adapter.parameter_count,
                size_bytes=size_bytes,
                source=str(path.absolute()),
            )
            before = records.get(name)
            records[name] = record
            self._write(records)
            self._sweep(before, records)
        return record

    def list(self) -> list[AdapterRecord]:
        """Every name, sorted."""
        return [record for _, record in sorted(self._read().items())]

    def get(self, name: str) -> AdapterRecord:
        """What is known of a name. Raises AdapterNotFoundError."""
        record = self._read().get(name)
        if record is None:
            raise AdapterNotFoundError(f"no adapter {name!r} in {self.directory}")
        return record

    def resolve(self, name_or_path: str | Path) -> Path:
        """Where `load_adapter` finds it: a name of the registry, else a path that is there.

        Raises AdapterNotFoundError, AdapterOpenError for a path that cannot be looked at.
        """
        record = self._read().get(str(name_or_path))
        if record is not None:
            return self.directory / record.file
        path = _expand_user(Path(name_or_path))
        try:
            if path.exists():
                return path
        except OSError as reason:
            text = f"no adapter {str(name_or_path)!r}: {reason.strerror}"
            raise AdapterOpenError(text) from reason
        raise AdapterNotFoundError(f"no adapter {str(name_or_path)!r}: neither a name nor a path")

    def remove(self, name: str) -> AdapterRecord:
        """Forget the name; its content goes with its last name. Raises AdapterNotFoundError."""
        record = self.get(name)
        with self._changing() as records:
            if records.pop(name, None) is None:
                raise AdapterNotFoundError(f"no adapter {name!r} in {self.directory}")
            self._write(records)
            self._sweep(record, records)
        return record

    def _copy(self, path: Path, adapter: Adapter, base: AdapterBase) -> tuple[str, int]:
        """The content's place within the folder and its bytes; copied if it is not there yet."""
        contents = self.directory / "contents"
        place = contents / adapter.digest.hex()
        if not place.exists():
            contents.mkdir(exist_ok=True)
            work = Path(tempfile.mkdtemp(prefix=".new-", dir=contents))
            try:
                copied = _copy_files(path, work)
                # What was checked is not what was copied if the file changed in between.
                if load_adapter(copied, base).digest != adapter.digest:
                    raise AdapterOpenError(f"{path}: has changed while it was added")
                work.rename(place)
            finally:
                shutil.rmtree(work, ignore_errors=True)
        is_gguf = (place / _GGUF_FILE).exists()
        size_bytes = sum(each.stat().st_size for each in place.iterdir())
        found = place / _GGUF_FILE if is_gguf else place
        return str(found.relative_to(self.directory)), size_bytes

    def _sweep(self, before: AdapterRecord | None, records: Mapping[str, AdapterRecord]) -> None:
        if before is not None and all(r.digest != before.digest for r in records.values()):
            shutil.rmtree(self.directory / "contents" / before.digest, ignore_errors=True)

    @contextmanager
    def _changing(self) -> Iterator[dict[str, AdapterRecord]]:
        """The records, under the registry's lock; what the disk refuses is an AdapterError."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with (self.directory / ".lock").open("ab") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                yield self._read()
        except OSError as reason:
            raise AdapterError(f"{self.directory}: {reason}") from reason

    def _read(self) -> dict[str, AdapterRecord]:
        try:
            document = json.loads(self._index.read_text(encoding="utf-8"))
            if document["version"] != _VERSION:
                raise ValueError(f"it is not of version {_VERSION}")
            records = [
                AdapterRecord(**(fields | {"projections": tuple(fields["projections"])}))
                for fields in document["adapters"]
            ]
            if any(Path(r.file).is_absolute() or ".." in Path(r.file).parts for r in records):
                raise ValueError("a file lies outside of the folder")
            # A digest names the folder that goes with its last name.
            if not all(_DIGEST.fullmatch(record.digest) for record in records):
                raise ValueError("a digest is not 64 hexadecimal digits")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as reason:
            raise AdapterError(f"the index {self._index} cannot be read: {reason}") from reason
        return {record.name: record for record in records}

    def _write(self, records: Mapping[str, AdapterRecord]) -> None:
        document = {
            "version": _VERSION,
            "adapters": [asdict(records[name]) for name in sorted(records)],
        }
        temporary = self._index.with_suffix(".new")
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(document, stream, indent=2)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self._index)


def _copy_files(path: Path, work: Path) -> Path:
    """What `load_adapter` reads of `path`, in the folder `work`; the path to load it from."""
    if not path.is_dir():
        shutil.copyfile(path, work / _GGUF_FILE)
        return work / _GGUF_FILE
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        shutil.copyfile(path / name, work / name, follow_symlinks=False)
    return work


def _expand_user(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as reason:  # no such user, or no home
        raise AdapterOpenError(f"{str(path)!r}: {reason}") from None
