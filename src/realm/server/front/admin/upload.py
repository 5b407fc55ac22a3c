"""A request's body into a file: counted, hashed, and never held in memory."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from starlette.requests import Request

from realm.errors import EngineUnavailableError, TenantStoreError
from realm.server.front.body_limit import set_body_limit

_WRITE_BYTES = 1 << 20
_MOST_UPLOADS = 4
UPLOADS_FOLDER = "uploads"


@dataclass(frozen=True, slots=True)
class Upload:
    """path: the body, whole, in `folder`, which is gone when the request ends. digest: its
    SHA-256, hexadecimal. head: its first bytes."""

    folder: Path
    path: Path
    size_bytes: int
    digest: str
    head: bytes


class UploadDesk:
    """Receives bodies into folders of their own below the data directory, a few at a time."""

    def __init__(self, data_directory: Path) -> None:
        self._directory = data_directory / UPLOADS_FOLDER
        self._running: list[str | None] = []

    @asynccontextmanager
    async def receive(
        self, request: Request, most_bytes: int, sender: str | None
    ) -> AsyncIterator[Upload]:
        """The request's body. sender: a tenant, which sends one at a time; None for an admin, for
        whom tenants leave a place.

        HTTPException 413 when it is longer; EngineUnavailableError when too many others send
        theirs; TenantStoreError when the disk does not take it.
        """
        most = _MOST_UPLOADS if sender is None else _MOST_UPLOADS - 1
        if len(self._running) >= most or (sender is not None and sender in self._running):
            raise EngineUnavailableError("other uploads are running", 2.0)
        set_body_limit(request, most_bytes)
        self._running.append(sender)
        try:
            with disk_errors():
                self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
                folder = TemporaryDirectory(dir=self._directory, prefix="upload-")
            try:
                yield await _receive(request, Path(folder.name))
            finally:
                await asyncio.to_thread(folder.cleanup)
        finally:
            self._running.remove(sender)


async def _receive(request: Request, folder: Path) -> Upload:
    path = folder / "body"
    hasher, size, head, waiting = hashlib.sha256(), 0, b"", bytearray()
    with disk_errors():
        file = path.open("xb")

    def write(data: bytes) -> None:
        hasher.update(data)
        with disk_errors():
            file.write(data)

    try:
        async for chunk in request.stream():
            size += len(chunk)
            head = (head + chunk)[:16] if len(head) < 16 else head
            waiting += chunk
            if len(waiting) >= _WRITE_BYTES:
                await asyncio.to_thread(write, bytes(waiting))
                waiting.clear()
        await asyncio.to_thread(write, bytes(waiting))
    finally:
        with disk_errors():
            file.close()
    return Upload(folder, path, size, hasher.hexdigest(), head)


@contextmanager
def disk_errors() -> Iterator[None]:
    """What the disk refuses is a TenantStoreError, which a client may try again."""
    try:
        yield
    except OSError as error:
        raise TenantStoreError(f"the upload cannot be written: {error.strerror}") from error
