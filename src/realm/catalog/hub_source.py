"""Fetches a file from the Hugging Face hub through huggingface_hub (the extra `hub`).

It asks the hub for the file's SHA-256, size and commit first, then reads the bytes of that
commit. Its own part file makes an interrupted fetch go on where it stopped, in a new process
too. It never uses or fills the hub's own cache.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from realm.catalog.digest import PIECE_BYTES
from realm.catalog.progress import FetchProgress, ProgressCallback
from realm.catalog.reference import HubReference, Reference
from realm.catalog.source import FetchedFile
from realm.errors import CatalogError, IntegrityError, NotSupportedError, RealmError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PARTIAL_CONTENT = 206


class HubSource:
    """The `hf:` source. `endpoint` replaces the hub's address (a mirror)."""

    def __init__(self, endpoint: str | None = None) -> None:
        self._endpoint = endpoint

    def fetch(
        self, reference: Reference, work_directory: Path, progress: ProgressCallback
    ) -> FetchedFile:
        """See `Source.fetch`. NotSupportedError without the extra `hub`."""
        if not isinstance(reference, HubReference):
            raise CatalogError(f"{reference} is not a hub reference")
        hub = _import_hub()
        try:
            return self._fetch(hub, reference, work_directory, progress)
        except RealmError:
            raise
        except Exception as error:
            # The hub's client raises whatever its HTTP library raises, and that has changed.
            first_line = str(error).strip().partition("\n")[0] or type(error).__name__
            raise CatalogError(f"{reference} cannot be fetched: {first_line}") from error

    def _fetch(
        self, hub: Any, reference: HubReference, work_directory: Path, progress: ProgressCallback
    ) -> FetchedFile:
        url = hub.hf_hub_url(
            reference.repository,
            reference.file,
            revision=reference.revision,
            endpoint=self._endpoint,
        )
        facts = hub.get_hf_file_metadata(url, endpoint=self._endpoint)
        if facts.size is None or not facts.etag or not _SHA256.fullmatch(facts.etag):
            raise CatalogError(f"{reference}: the hub names no SHA-256 and size to verify with")
        pinned = hub.hf_hub_url(
            reference.repository,
            reference.file,
            revision=facts.commit_hash or reference.revision,
            endpoint=self._endpoint,
        )
        part = work_directory / f"{facts.etag}.part"
        _download(hub, pinned, part, facts.size, progress)
        arrived = part.stat().st_size
        if arrived != facts.size:
            raise IntegrityError(
                f"{reference}: {arrived} bytes arrived, but the hub announces {facts.size}"
            )
        file_name = reference.file.rpartition("/")[2]
        return FetchedFile(part, file_name, facts.etag, facts.commit_hash or "")


def _import_hub() -> Any:
    try:
        import huggingface_hub  # noqa: PLC0415  (an optional extra)
        import huggingface_hub.utils  # noqa: PLC0415
    except ImportError as error:
        raise NotSupportedError(
            "hf: sources need the extra `hub`: pip install 'realm[hub]'"
        ) from error
    return huggingface_hub


def _download(hub: Any, url: str, part: Path, size_bytes: int, progress: ProgressCallback) -> None:
    bytes_done = part.stat().st_size if part.exists() else 0
    if bytes_done > size_bytes:
        part.unlink()
        bytes_done = 0
    progress(FetchProgress("download", bytes_done, size_bytes))
    if bytes_done == size_bytes:
        return
    headers = hub.utils.build_hf_headers()
    headers["Accept-Encoding"] = "identity"
    if bytes_done:
        headers["Range"] = f"bytes={bytes_done}-"
    with hub.get_session().stream("GET", url, headers=headers, follow_redirects=True) as response:
        hub.utils.hf_raise_for_status(response)
        if response.status_code != _PARTIAL_CONTENT:
            bytes_done = 0  # the server sends the whole file again
        with part.open("r+b" if bytes_done else "wb") as output:
            output.seek(bytes_done)
            for piece in response.iter_raw(chunk_size=PIECE_BYTES):
                output.write(piece)
                bytes_done += len(piece)
                if bytes_done > size_bytes:
                    raise IntegrityError(f"{url} sends more than the announced {size_bytes} bytes")
                progress(FetchProgress("download", bytes_done, size_bytes))
