"""A lock on a name in a folder, held by one process or thread at a time.

It is advisory (flock), freed by the kernel when its holder dies, and never deleted: deleting a
lock file would let two holders lock two files of the same name.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`, waiting for whoever holds it now. Makes the parent folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
