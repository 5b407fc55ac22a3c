"""What the manager of adapters gives out: a use of one version, and what is known of each."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Packed(Protocol):
    """An adapter as the engine wants it; opaque here but for its size."""

    @property
    def byte_size(self) -> int:
        """Bytes that it holds."""

    @property
    def digest(self) -> bytes:
        """Of the adapter that it was made of."""


@dataclass(frozen=True, slots=True)
class AdapterStatus:
    """One version under one name.

    tenant: whose name it is; None for a name that every tenant may use. version: from 1 on.
    digest: hexadecimal; None while it was never loaded. resident_bytes: 0 when not in memory; names
    of one content show the same bytes. Counts are of this version; wait_seconds: from request to
    use, summed over all uses.
    """

    tenant: str | None
    name: str
    version: int
    path: Path
    digest: str | None
    is_current: bool
    is_pinned: bool
    user_count: int
    waiting_count: int
    resident_bytes: int
    load_count: int
    eviction_count: int
    use_count: int
    wait_seconds: float


class AdapterUse:
    """One request's hold on one version, from the request to `release`.

    The version stays as it was requested, whatever happens to its name. `ready` is done when the
    adapter is in memory, from then on `packed` is there; it fails with an AdapterError when the
    adapter cannot be loaded, and is cancelled by `release` before that. Callbacks of `ready` run
    on the thread that made it so, often the loader's: they must be short.
    """

    __slots__ = ("_release", "digest", "ready", "version")

    def __init__(self, version: int, release: Callable[[AdapterUse], None]) -> None:
        """Made by `LoRAManager.request`."""
        self.version = version
        self.ready: Future[Packed] = Future()
        self.digest: bytes | None = None
        self._release = release

    @property
    def packed(self) -> Packed | None:
        """The adapter as the engine packed it; None while it is not in memory.

        Raises the AdapterError that loading it ended in.
        """
        if not self.ready.done() or self.ready.cancelled():
            return None
        return self.ready.result()

    def release(self) -> None:
        """Ends the use; safe to repeat. The adapter may leave memory when it was the last."""
        self._release(self)

    def __enter__(self) -> AdapterUse:
        return self

    def __exit__(self, *unused: object) -> None:
        self.release()
