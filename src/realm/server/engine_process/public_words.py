"""What clients may read of an error: its words, with names where the machine's paths were."""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path

from realm.errors import RealmError

_SOMEWHERE = "[a file]"


class PublicWords:
    """paths: of the engine's own files, such as its state."""

    def __init__(self, paths: Iterable[str | Path] = ()) -> None:
        self._named: dict[str, str] = {}
        self._places = _own_places(paths)

    def name(self, path: str, name: str) -> None:
        """From now on the path is called by this name."""
        self._named[path] = name
        self._named[str(Path(path).absolute())] = name

    def describe(self, error: RealmError) -> str:
        """The error's message for a client."""
        text = str(error)
        if "/" not in text:
            return text
        found = [path for path in list(self._named) if path in text]
        for path in sorted(found, key=len, reverse=True):
            text = text.replace(path, self._named[path])
        for place in self._places:
            if place in text:
                text = _without(text, place)
        return text


def _without(text: str, place: str) -> str:
    """The text without the paths that begin with this one: up to a space, quote or colon."""
    head, *tails = text.split(place)
    kept = [head]
    for tail in tails:
        end = next((at for at, each in enumerate(tail) if each in " \t\n'\":,;)"), len(tail))
        kept.append(_SOMEWHERE + tail[end:])
    return "".join(kept)


def _own_places(paths: Iterable[str | Path]) -> list[str]:
    """Folders that belong to the machine's operator, the longest first."""
    places = [str(Path(path).absolute()) for path in paths]
    places += [str(Path(path).absolute().parent) for path in paths]
    places += [sys.prefix, sys.base_prefix, tempfile.gettempdir(), os.getcwd()]  # noqa: PTH109
    places += [str(Path(__file__).parents[3]), str(Path(sys.executable).parent)]
    places += [str(Path.home()), sysconfig.get_path("stdlib"), site.getuserbase()]
    long_enough = {place for place in places if len(place) > 1}
    return sorted(long_enough, key=len, reverse=True)
