"""Shows a fetch's progress on a stream: one line that renews itself on a terminal.

Elsewhere it writes one line a stage; silent, it writes nothing.
"""

from __future__ import annotations

from typing import TextIO

from realm.catalog.progress import FetchProgress
from realm.cli.presentation import format_bytes

_BAR_CELLS = 24
_ERASE_LINE = "\r\x1b[K"


class ProgressLine:
    """A progress callback for one model. Call `close` after the fetch, also after a failed one."""

    def __init__(self, stream: TextIO, name: str, *, silent: bool) -> None:
        self._stream = stream
        self._name = name
        self._silent = silent
        self._terminal = not silent and stream.isatty()
        self._shown = ""

    def __call__(self, progress: FetchProgress) -> None:
        if self._silent:
            return
        line = f"{progress.stage:8} {self._name}"
        if self._terminal:
            line += f"  {_amount(progress)}"
        if line == self._shown:
            return
        self._stream.write(_ERASE_LINE + line if self._terminal else line + "\n")
        self._stream.flush()
        self._shown = line

    def close(self) -> None:
        """Take the line away again."""
        if self._terminal and self._shown:
            self._stream.write(_ERASE_LINE)
            self._stream.flush()
        self._shown = ""


def _amount(progress: FetchProgress) -> str:
    if not progress.bytes_total:
        return format_bytes(progress.bytes_done)
    share = min(progress.bytes_done / progress.bytes_total, 1.0)
    bar = ("#" * round(share * _BAR_CELLS)).ljust(_BAR_CELLS, ".")
    return f"[{bar}] {share:4.0%} of {format_bytes(progress.bytes_total)}"
