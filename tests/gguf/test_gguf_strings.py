"""Arrays of strings: lazy, lossless, and quick to open."""

import time
from pathlib import Path

import pytest
from attacks.gguf.files import file, key, texts

from realm.gguf import StringArray, open_gguf

TOKENS = ["<s>", "", "é", "▁the", b"\xff\xfe", "last", b"\xed\xa0\x80", ""]


def written(tmp_path: Path, tokens: list[str | bytes]) -> StringArray:
    path = tmp_path / "strings.gguf"
    path.write_bytes(file([key("tokens", texts(tokens))]))
    with open_gguf(path) as opened:
        return opened.require("tokens", StringArray)


def test_every_way_of_reading_agrees(tmp_path: Path) -> None:
    strings = written(tmp_path, TOKENS)
    raw = [each if isinstance(each, bytes) else each.encode() for each in TOKENS]
    decoded = [each.decode("utf-8", "surrogateescape") for each in raw]
    assert len(strings) == len(TOKENS)
    assert [strings.bytes_at(index) for index in range(len(strings))] == raw
    assert list(strings.iterate_bytes()) == raw
    assert [strings[index] for index in range(len(strings))] == decoded
    assert list(strings) == strings.to_list() == decoded
    assert strings[-1] == "" and strings[-3] == "last"
    assert strings[2:5] == decoded[2:5] and strings[::-1] == decoded[::-1]
    assert strings.index("é") == 2 and "▁the" in strings


def test_bytes_that_are_not_utf8_come_back(tmp_path: Path) -> None:
    strings = written(tmp_path, TOKENS)
    assert strings[4].encode("utf-8", "surrogateescape") == b"\xff\xfe"
    assert strings.bytes_at(6) == b"\xed\xa0\x80"


def test_none_and_one(tmp_path: Path) -> None:
    assert written(tmp_path, []).to_list() == []
    assert written(tmp_path, ["only"]).to_list() == ["only"]


@pytest.mark.parametrize("index", [8, -9, 2**70])
def test_index_outside(tmp_path: Path, index: int) -> None:
    with pytest.raises(IndexError):
        written(tmp_path, TOKENS)[index]


def test_equal_when_their_strings_are(tmp_path: Path) -> None:
    strings = written(tmp_path, TOKENS)
    assert strings == written(tmp_path, TOKENS)
    assert hash(strings) == hash(written(tmp_path, TOKENS))
    assert strings != written(tmp_path, TOKENS[:-1])
    assert strings != strings.to_list()


def test_a_vocabulary_of_262144_opens_quickly(tmp_path: Path) -> None:
    path = tmp_path / "vocabulary.gguf"
    path.write_bytes(file([key("tokens", texts(f"token{n}" for n in range(262_144)))]))
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        with open_gguf(path) as opened:
            seconds.append(time.perf_counter() - started)
    tokens = opened.require("tokens", StringArray)
    assert len(tokens) == 262_144
    assert tokens[262_143] == "token262143"
    assert min(seconds) < 0.3
