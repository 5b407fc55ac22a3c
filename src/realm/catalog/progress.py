"""What a fetch tells its caller while it works. Plain data; it never prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """One report of a fetch.

    stage: "download", "unpack" or "verify".
    bytes_done: bytes of this stage that are behind.
    bytes_total: bytes of this stage, or None where the source does not say.
    """

    stage: str
    bytes_done: int
    bytes_total: int | None


ProgressCallback = Callable[[FetchProgress], None]


def ignore_progress(progress: FetchProgress) -> None:
    """The callback of a caller that does not want to know."""
    del progress
