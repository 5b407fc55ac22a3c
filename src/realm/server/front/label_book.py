"""Which names get a label of their own, so that no client can make the metrics grow."""

from __future__ import annotations

from collections.abc import Collection

OTHER = "other"
"""The label of all that have none of their own."""


class LabelBook:
    """The first names that come keep a label of their own; the rest share OTHER.

    A name keeps its label until `forget`, so that a counter never moves to another one. A name
    that is called as OTHER is never has one of its own.
    """

    def __init__(self, size: int, known: Collection[str] = ()) -> None:
        """size: most names with a label, besides OTHER. known: have one from the start."""
        self._size = size
        self._labels = {name: name for name in known}

    def label(self, name: str) -> str:
        """Of this name."""
        label = self._labels.get(name)
        if label is not None:
            return label
        if len(self._labels) >= self._size or name == OTHER:
            return OTHER
        self._labels[name] = name
        return name

    def forget(self, name: str) -> None:
        """The name is gone; another may have its place."""
        self._labels.pop(name, None)
