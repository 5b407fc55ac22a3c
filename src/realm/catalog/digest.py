"""Hashes of files, read in pieces. It never holds a whole file in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from realm.catalog.progress import FetchProgress, ProgressCallback

PIECE_BYTES = 1 << 20


def read_pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """The rest of a stream in pieces of at most PIECE_BYTES."""
    while piece := stream.read(PIECE_BYTES):
        yield piece


def sha256_of(path: Path, progress: ProgressCallback) -> str:
    """SHA-256 of a file in hexadecimal; reports the stage "verify". OSError as open and read."""
    digest = hashlib.sha256()
    bytes_total = path.stat().st_size
    bytes_done = 0
    with path.open("rb") as stream:
        for piece in read_pieces(stream):
            digest.update(piece)
            bytes_done += len(piece)
            progress(FetchProgress("verify", bytes_done, bytes_total))
    return digest.hexdigest()
