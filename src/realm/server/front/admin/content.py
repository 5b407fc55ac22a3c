"""Where uploaded content lies: one folder for each tenant, files and folders named by their hash.

Content appears under its name only whole. Tenants never share a file, so that nothing that is said
of one's can tell of another's.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from realm.errors import AdapterFormatError
from realm.server.front.admin.peft_archive import CONFIG_FILE, WEIGHTS_FILE, unpack_peft
from realm.server.front.admin.upload import Upload, disk_errors

_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Content:
    """path: a file or a folder below the upload's own. suffix: of its name where it is kept."""

    path: Path
    digest: str
    size_bytes: int
    suffix: str


def content_of(upload: Upload, kind: str, most_bytes: int) -> Content:
    """What was uploaded, unpacked if it is an archive. Reads and writes files.

    Raises AdapterError's kinds for what is no adapter, TenantStoreError for the disk.
    """
    if kind == "program":
        return Content(upload.path, upload.digest, upload.size_bytes, ".wasm")
    if kind == "draft" or upload.head.startswith(b"GGUF"):
        return Content(upload.path, upload.digest, upload.size_bytes, ".gguf")
    if not upload.head.startswith(b"PK\x03\x04"):
        raise AdapterFormatError("neither a GGUF adapter nor a zip of a PEFT folder")
    folder = upload.folder / "peft"
    with disk_errors():
        folder.mkdir()
        unpack_peft(upload.path, folder, most_bytes)
        upload.path.unlink()
        hasher, size = hashlib.sha256(), 0
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            path = folder / name
            size += path.stat().st_size
            hasher.update(_digest_of(path))
    return Content(folder, hasher.hexdigest(), size, "")


class ContentFolder:
    """Below the data directory."""

    def __init__(self, data_directory: Path) -> None:
        self._directory = data_directory / "items"

    def keep(self, content: Content, kind: str, tenant_id: str | None) -> Path:
        """Where it lies from now on; on the disk when this returns. Raises TenantStoreError."""
        folder = self._folder(tenant_id) / kind
        path = folder / f"{content.digest}{content.suffix}"
        with disk_errors():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not path.exists():
                for each in _files(content.path):
                    _flush(each)
                _flush(content.path)
                content.path.rename(path)
                _flush(folder)
        return path

    def drop(self, path: Path) -> None:
        """Nobody's any more. What cannot be removed stays, and is in nobody's way."""
        if self._directory not in path.parents:
            return
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def drop_tenant(self, tenant_id: str) -> None:
        """All that was the tenant's. Such as is in use goes with its last user."""
        shutil.rmtree(self._folder(tenant_id), ignore_errors=True)

    def _folder(self, tenant_id: str | None) -> Path:
        if tenant_id is None:
            return self._directory / "everyone"
        return self._directory / "tenants" / tenant_id


def _files(path: Path) -> list[Path]:
    return sorted(path.iterdir()) if path.is_dir() else []


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest_of(path: Path) -> bytes:
    hasher = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_READ_BYTES):
            hasher.update(chunk)
    return hasher.digest()
