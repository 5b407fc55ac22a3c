"""The catalog's index: which fetched file is which, with size, hash and source.

One JSON file, replaced whole. A reader sees the old or the new one, never a half.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from realm.errors import CatalogError

_VERSION = 1


@dataclass(frozen=True, slots=True)
class CatalogRecord:
    """One model that the catalog knows.

    name: the name it is listed under.
    file: its path, relative to the catalog's folder, or absolute for `path:` sources.
    source: the reference it was fetched from.
    revision: what the source resolved to (a commit, a package version), "" where it has none.
    """

    name: str
    file: str
    size_bytes: int
    sha256: str
    source: str
    revision: str = ""


def read_index(path: Path) -> dict[str, CatalogRecord]:
    """The records by name, empty when there is no file. CatalogError when it is malformed."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"the index {path} cannot be read: {error}") from error
    try:
        return _records(json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        raise CatalogError(
            f"the index {path} is malformed ({error}); delete it and fetch the models again"
        ) from error


def write_index(path: Path, records: Mapping[str, CatalogRecord]) -> None:
    """Replace the index. The caller holds the index's lock."""
    document = {
        "version": _VERSION,
        "models": [asdict(records[name]) for name in sorted(records)],
    }
    temporary = path.with_suffix(".new")
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(document, stream, indent=2)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def _records(document: object) -> dict[str, CatalogRecord]:
    if not isinstance(document, dict) or document.get("version") != _VERSION:
        raise ValueError(f"it is not an index of version {_VERSION}")
    records = {}
    for fields in document["models"]:
        record = CatalogRecord(**fields)
        strings = (record.name, record.file, record.sha256, record.source, record.revision)
        if not all(isinstance(value, str) for value in strings):
            raise ValueError("a field that must be text is not")
        if not isinstance(record.size_bytes, int) or record.size_bytes < 0:
            raise ValueError(f"size_bytes of {record.name!r} is not a size")
        records[record.name] = record
    return records
