"""A guarded SQLite file: what is refused, and that nothing stays open."""

from pathlib import Path

import pytest

from realm.errors import ConfigError, StateStoreError
from realm.runtime.state_file import StateFile

TABLES = ("CREATE TABLE IF NOT EXISTS word (text TEXT PRIMARY KEY)",)


def open_files():
    return {str(each.resolve()) for each in Path("/proc/self/fd").iterdir()}


def test_a_refused_file_is_let_go_of(tmp_path):
    path = tmp_path / "other"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(ConfigError, match="not a database") as refusal:
        StateFile(path, "it", TABLES)
    assert refusal.tb is not None  # it holds what the constructor held
    assert str(path) not in open_files()


def test_an_open_file_is_seen_and_a_closed_one_is_gone(tmp_path):
    path = tmp_path / "state"
    file = StateFile(path, "it", TABLES)
    assert str(path) in open_files()
    file.close()
    file.close()
    assert str(path) not in open_files()
    with pytest.raises(StateStoreError, match="it is closed"), file.cursor():
        pass


def test_a_path_that_can_be_none_is_refused():
    with pytest.raises(ConfigError, match="state_path"):
        StateFile("a\0b", "it", TABLES)


def test_what_a_statement_raises_is_typed_and_the_file_goes_on(tmp_path):
    file = StateFile(tmp_path / "state", "it", TABLES)
    for statement, values in (
        ("INSERT INTO nothing VALUES (?)", ("a",)),
        ("INSERT INTO word VALUES (?)", ("\ud800",)),
    ):
        with pytest.raises(StateStoreError, match="state"), file.cursor() as cursor:
            cursor.execute(statement, values)
    with file.cursor() as cursor:
        cursor.execute("INSERT INTO word VALUES (?)", ("kept",))
        assert cursor.execute("SELECT text FROM word").fetchall() == [("kept",)]
    file.close()
