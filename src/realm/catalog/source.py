"""What every source gives back to the catalog, and what it may use while it works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from realm.catalog.progress import ProgressCallback
from realm.catalog.reference import Reference


@dataclass(frozen=True, slots=True)
class FetchedFile:
    """A file that a source put in the work folder; the catalog verifies and moves it.

    file_name: the name the file shall have, without folders.
    sha256: what the source says the file's hash is, None where it says nothing.
    revision: what the reference resolved to, "" where the source has no such thing.
    """

    path: Path
    file_name: str
    sha256: str | None
    revision: str


class Source(Protocol):
    """A kind of place to fetch from."""

    def fetch(
        self, reference: Reference, work_directory: Path, progress: ProgressCallback
    ) -> FetchedFile:
        """Bring the file into the work folder, using what an earlier, interrupted try left there.

        CatalogError when it cannot be had, IntegrityError when the bytes are wrong.
        """
        ...
