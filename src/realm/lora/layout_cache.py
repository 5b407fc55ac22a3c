"""Layouts of adapters by how their files begin: what was checked once is not taken apart again.

Adapters of one training recipe differ in their numbers alone. A layout is found only for the same
bytes of header and configuration, the same size of the file and the same base: whatever reading
them anew could find wrong, it would have found then.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from realm.lora.base import AdapterBase
from realm.lora.layout import Layout

_LAYOUTS = 32
_HEADER_BYTES = 1 << 20  # longer ones are not kept


class _Entry(NamedTuple):
    base: AdapterBase
    configuration: bytes
    header: bytes
    size_bytes: int
    layout: Layout


class LayoutCache:
    """The layouts found last, a few; any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: deque[_Entry] = deque(maxlen=_LAYOUTS)

    def find(
        self,
        base: AdapterBase,
        size_bytes: int,
        read_front: Callable[[int], bytes],
        configuration: bytes = b"",
    ) -> Layout | None:
        """read_front: the file's first bytes, so many or fewer. configuration: of another file."""
        with self._lock:
            entries = list(self._entries)
        front = b""
        for entry in entries:
            if (
                entry.base is not base
                or entry.size_bytes != size_bytes
                or entry.configuration != configuration
            ):
                continue
            if len(front) < len(entry.header):
                front = read_front(len(entry.header))
            if front.startswith(entry.header):
                return entry.layout
        return None

    def keep(
        self,
        base: AdapterBase,
        size_bytes: int,
        header: bytes,
        layout: Layout,
        configuration: bytes = b"",
    ) -> None:
        """header: all of the file before the numbers. Layouts that need more than the file's plain
        numbers are not kept."""
        if not layout.computed and len(header) + len(configuration) <= _HEADER_BYTES:
            with self._lock:
                self._entries.appendleft(_Entry(base, configuration, header, size_bytes, layout))
