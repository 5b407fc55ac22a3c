"""The cache of compiled programs: what is in it is ours and whole, or it is compiled again."""

from __future__ import annotations

import os
import stat
import threading
from dataclasses import replace

import pytest

from realm.errors import ConfigError
from realm.runtime.module_cache import (
    ModuleCache,
    default_module_cache,
    default_module_directory,
)
from realm.runtime.program import GuestHost, default_program

from .conftest import SMALL

CODE = bytes(range(256)) * 16


@pytest.fixture
def cache(tmp_path) -> ModuleCache:
    return ModuleCache(tmp_path / "modules")


def entry(cache):
    (path,) = cache.directory.glob("*.module")
    return path


def test_what_was_stored_is_loaded(cache):
    assert cache.load("a") is None
    cache.store("a", CODE)
    cache.store("b", b"other")
    assert cache.load("a") == CODE
    assert ModuleCache(cache.directory).load("b") == b"other"
    assert cache.load("c") is None


def test_only_we_can_read_it(cache):
    old = os.umask(0)
    try:
        cache.store("a", CODE)
    finally:
        os.umask(old)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in cache.directory.iterdir()}
    assert stat.S_IMODE(cache.directory.stat().st_mode) == 0o700
    assert modes == {"key": 0o600, "a.module": 0o600}


@pytest.mark.parametrize("place", [0, 14, 15, 46, 47, 1000, -1])
def test_a_flipped_bit_is_not_loaded(cache, place):
    cache.store("a", CODE)
    data = bytearray(entry(cache).read_bytes())
    data[place] ^= 1
    entry(cache).write_bytes(data)
    assert cache.load("a") is None
    assert list(cache.directory.glob("*.module")) == []


@pytest.mark.parametrize("length", [0, 10, 47, 2000])
def test_a_truncated_entry_is_not_loaded(cache, length):
    cache.store("a", CODE)
    os.truncate(entry(cache), length)
    assert cache.load("a") is None
    cache.store("a", CODE)
    assert cache.load("a") == CODE


def test_one_entry_cannot_stand_in_the_place_of_another(cache):
    cache.store("a", CODE)
    entry(cache).rename(cache.directory / "b.module")
    assert cache.load("b") is None


def test_another_key_makes_all_entries_worthless(cache):
    cache.store("a", CODE)
    (cache.directory / "key").write_bytes(bytes(32))
    assert cache.load("a") is None
    cache.store("a", CODE)
    (cache.directory / "key").unlink()
    assert cache.load("a") is None


@pytest.mark.parametrize("spoil", ["short", "readable", "folder"])
def test_a_key_that_others_may_know_is_replaced(cache, spoil):
    cache.store("a", CODE)
    key = cache.directory / "key"
    known = key.read_bytes()
    if spoil == "short":
        key.write_bytes(known[:5])
    elif spoil == "readable":
        key.chmod(0o644)
    else:
        key.unlink()
        key.symlink_to(cache.directory / "a.module")
    assert cache.load("a") is None
    cache.store("a", CODE)
    assert cache.load("a") == CODE
    assert key.read_bytes() != known
    assert stat.S_IMODE(key.lstat().st_mode) == 0o600


def test_files_of_others_are_not_loaded(cache):
    cache.store("a", CODE)
    entry(cache).chmod(0o606)
    assert cache.load("a") is None
    cache.store("b", CODE)
    target = entry(cache).rename(cache.directory / "elsewhere")
    (cache.directory / "b.module").symlink_to(target)
    assert cache.load("b") is None
    os.mkfifo(cache.directory / "c.module", 0o600)
    assert cache.load("c") is None


def test_a_folder_of_another_owner_is_not_used(cache, monkeypatch, caplog):
    cache.store("a", CODE)
    real = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: real + 1)
    assert cache.load("a") is None
    cache.store("b", CODE)
    assert "not ours alone" in caplog.text
    monkeypatch.undo()
    assert [path.name for path in cache.directory.glob("*.module")] == ["a.module"]


def test_a_folder_that_others_may_write_is_not_used(cache):
    cache.store("a", CODE)
    cache.directory.chmod(0o770)
    assert cache.load("a") is None
    cache.store("b", CODE)
    cache.directory.chmod(0o700)
    assert cache.load("a") == CODE
    assert cache.load("b") is None


def test_a_place_where_no_folder_can_be_is_no_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    cache = ModuleCache(tmp_path / "file" / "modules")
    cache.store("a", CODE)
    assert cache.load("a") is None


def test_the_longest_unused_goes_first(cache):
    for name in "abc":
        cache.store(name, CODE)
    for age, name in enumerate("cba"):
        os.utime(cache.directory / f"{name}.module", ns=(10**18 - age, 10**18 - age))
    cache.byte_limit = 3 * (len(CODE) + 100)
    assert cache.load("a") == CODE  # the oldest, but now the newest
    cache.store("d", CODE)
    assert {path.stem for path in cache.directory.glob("*.module")} == {"a", "c", "d"}
    cache.store("huge", bytes(cache.byte_limit + 1))
    assert cache.load("huge") is None
    assert cache.load("d") == CODE


def test_what_someone_died_over_is_cleared_away(cache):
    cache.store("a", CODE)
    for name, age in (("old.partial", 7200), ("new.partial", 0)):
        path = cache.directory / name
        path.write_bytes(b"half")
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    cache.store("b", CODE)
    assert {path.name for path in cache.directory.glob("*.partial")} == {"new.partial"}


@pytest.mark.parametrize("damaged_key", [None, b"not a whole key"])
def test_many_at_once_agree_on_one_key(tmp_path, damaged_key):
    for attempt in range(20):
        caches = [ModuleCache(tmp_path / str(attempt)) for _ in range(8)]
        if damaged_key is not None:
            caches[0].directory.mkdir(mode=0o700)
            (caches[0].directory / "key").touch(mode=0o600)
            (caches[0].directory / "key").write_bytes(damaged_key)
        start = threading.Barrier(len(caches))

        def store(number, cache, start=start):
            start.wait()
            cache.store(str(number), CODE)

        threads = [
            threading.Thread(target=store, args=(number, cache))
            for number, cache in enumerate(caches)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(caches[0].load(str(number)) == CODE for number in range(8))


class CountingCache(ModuleCache):
    stored = 0

    def store(self, name, code):
        self.stored += 1
        super().store(name, code)


def test_a_host_compiles_what_is_not_there_and_only_that(tmp_path):
    cache = CountingCache(tmp_path / "modules")
    for stored in (1, 1):
        GuestHost(SMALL, cache=cache).compile(default_program())
        assert cache.stored == stored
    whole = entry(cache).read_bytes()
    entry(cache).write_bytes(whole[:-100] + bytes([whole[-100] ^ 0x10]) + whole[-99:])
    for stored in (2, 2):
        GuestHost(SMALL, cache=cache).compile(default_program())
        assert cache.stored == stored
    assert entry(cache).read_bytes() == whole


def test_engines_of_another_kind_do_not_share(cache):
    wider = replace(SMALL, memory_bytes=2 << 20)
    GuestHost(SMALL, cache=cache).compile(default_program())
    GuestHost(wider, cache=cache).compile(default_program())
    GuestHost(replace(SMALL, guest_count=9), cache=cache).compile(default_program())
    assert len(list(cache.directory.glob("*.module"))) == 2


def test_code_of_another_engine_is_compiled_again(cache):
    host = GuestHost(SMALL, cache=cache)
    foreign = GuestHost(replace(SMALL, memory_bytes=2 << 20)).inspect(default_program())
    name = host._cache_name(default_program())
    cache.store(name, foreign.serialize())
    assert host.compile(default_program()) is not None
    assert cache.load(name) != foreign.serialize()


def test_the_folder_stands_under_the_home_that_is_set(monkeypatch, tmp_path):
    monkeypatch.setenv("REALM_HOME", str(tmp_path))
    assert default_module_directory() == tmp_path / "modules"


def test_without_a_home_nothing_is_kept(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("REALM_HOME", "~nobody-of-this-name/realm")
    with pytest.raises(ConfigError, match=r"nobody-of-this-name.*REALM_HOME"):
        default_module_directory()
    assert default_module_cache() is None
    assert "are not kept" in caplog.text
    monkeypatch.delenv("REALM_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    with pytest.raises(ConfigError, match="home"):
        default_module_directory()
    monkeypatch.setenv("REALM_HOME", "~/realm")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_module_cache().directory == tmp_path / "realm" / "modules"
    monkeypatch.setenv("REALM_HOME", str(tmp_path / ("a" * 5000)))
    too_long = default_module_cache()
    too_long.store("name", b"code")
    assert too_long.load("name") is None
