"""Where a version's bytes lie, and whether they are still those that were loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from realm.errors import AdapterOpenError
from realm.lora.peft_folder import CONFIG_FILE, WEIGHTS_FILE


@dataclass(frozen=True, slots=True)
class AdapterSource:
    """A path and what the file system said of its files when it was taken.

    byte_size: of the numbers' file; what the adapter is likely to take in memory.
    """

    path: Path
    stamps: tuple[tuple[int, int, int], ...]
    byte_size: int

    def require_unchanged(self) -> None:
        """Raises AdapterOpenError when a file is gone or is another one now."""
        if take_source(self.path) != self:
            text = "has changed since it was loaded; load it again to make a new version"
            raise AdapterOpenError(f"{self.path}: {text}")


def take_source(path: str | Path) -> AdapterSource:
    """The files at `path` as they are. Raises AdapterOpenError when there is no adapter there."""
    place = Path(path).absolute()
    names = (CONFIG_FILE, WEIGHTS_FILE) if place.is_dir() else ("",)
    try:
        status = [(place / name).lstat() if name else place.stat() for name in names]
    except (OSError, ValueError) as reason:
        raise AdapterOpenError(f"{path}: no adapter is there: {reason}") from None
    stamps = tuple((s.st_ino, s.st_size, s.st_mtime_ns) for s in status)
    return AdapterSource(place, stamps, status[-1].st_size)
