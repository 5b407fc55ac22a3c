"""What clients read of errors: names for the operator's files, and their own words untouched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from realm.errors import RequestError
from realm.server.engine_process.public_words import PublicWords


@pytest.fixture
def words() -> PublicWords:
    words = PublicWords([Path("/srv/realm/state/engine.db")])
    words.name("/data/m.gguf", "model 'm'")
    words.name("/data/m.gguf.d/adapter", "adapter 'v'")
    return words


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/data/m.gguf: not a GGUF file", "model 'm': not a GGUF file"),
        ("'/data/m.gguf.d/adapter' is gone", "'adapter 'v'' is gone"),
        ("a pattern /x/y[/]+ of the client's", "a pattern /x/y[/]+ of the client's"),
        ("/srv/realm/state/engine.db-wal: disk full", "[a file]: disk full"),
        (f"no '{sys.prefix}/lib/x.so', sorry", "no '[a file]', sorry"),
        (f"{Path.home()}/secret/x y", "[a file] y"),
        ("no path at all", "no path at all"),
    ],
    ids=range(7),
)
def test_no_path_of_the_machine_is_told(words, text, told):
    assert words.describe(RequestError(text)) == told
