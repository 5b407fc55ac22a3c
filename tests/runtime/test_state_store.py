"""What tenants keep: both stores do the same, and the one with a file outlives its process."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from realm.errors import ConfigError, StateStoreError
from realm.runtime.state_store import FileStateStore, MemoryStateStore, StateLimits

LIMITS = StateLimits(entries=3, bytes=20)


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    made = MemoryStateStore() if request.param == "memory" else FileStateStore(tmp_path / "state")
    yield made
    made.close()


def test_values_are_the_tenants_own(store):
    assert store.put("a", b"k", b"1", LIMITS)
    assert store.put("b", b"k", b"2", LIMITS)
    assert store.get("a", b"k") == b"1"
    assert store.get("b", b"k") == b"2"
    assert store.get("c", b"k") is None
    store.forget("a")
    assert store.get("a", b"k") is None
    assert store.get("b", b"k") == b"2"


def test_any_bytes_are_keys_and_values(store):
    every = bytes(range(256))
    assert store.put("a\0'; --", every, every, StateLimits(1, 512))
    assert store.get("a\0'; --", every) == every
    assert store.get("a", every) is None


def test_entries_and_bytes_are_bounded(store):
    assert store.put("a", b"x", b"12345678", LIMITS)
    assert store.put("a", b"y", b"12345678", LIMITS)
    assert not store.put("a", b"z", b"123", LIMITS), "21 bytes"
    assert store.get("a", b"z") is None
    assert store.put("a", b"z", b"1", LIMITS)
    assert not store.put("a", b"w", b"1", StateLimits(3, 100)), "a fourth key"
    assert not store.put("a", b"x", b"123456789", LIMITS)
    assert store.get("a", b"x") == b"12345678"
    assert store.put("a", b"x", b"1234567", LIMITS)
    assert store.put("b", b"x", b"12345678", LIMITS), "another tenant has room of its own"


def test_an_empty_value_removes_its_key(store):
    for name in (b"x", b"y", b"z"):
        assert store.put("a", name, b"123", LIMITS)
    assert store.put("a", b"x", b"", LIMITS)
    assert store.put("a", b"x", b"", LIMITS)
    assert store.get("a", b"x") is None
    assert store.put("a", b"w", b"123", LIMITS)


def test_what_shrinks_is_allowed_beyond_lowered_limits(store):
    assert store.put("a", b"x", b"12345678", LIMITS)
    low = StateLimits(1, 4)
    assert not store.put("a", b"x", b"123456789", low)
    assert store.put("a", b"x", b"1234567", low)


def test_many_threads_keep_the_bounds(store):
    limits = StateLimits(entries=10, bytes=1000)

    def write(number: int) -> None:
        for turn in range(20):
            store.put("a", f"{number}-{turn}".encode(), b"value", limits)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = [f"{number}-{turn}".encode() for number in range(4) for turn in range(20)]
    assert sum(store.get("a", name) is not None for name in names) == 10


def test_a_file_outlives_a_process_that_dies(tmp_path):
    path = tmp_path / "state"
    code = (
        "import os, sys\n"
        "from realm.runtime.state_store import FileStateStore, StateLimits\n"
        "store = FileStateStore(sys.argv[1])\n"
        "store.put('a', b'k', b'kept', StateLimits(9, 999))\n"
        "os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60)
    assert done.returncode == 9
    store = FileStateStore(path)
    assert store.get("a", b"k") == b"kept"
    store.close()
    store.close()
    with pytest.raises(StateStoreError, match="closed"):
        store.get("a", b"k")


def test_a_file_that_is_none_of_ours_is_refused(tmp_path):
    path = tmp_path / "other"
    path.write_bytes(b"not a data base" * 100)
    with pytest.raises(ConfigError, match="state_path"):
        FileStateStore(path)
    with pytest.raises(ConfigError, match="state_path"):
        FileStateStore(tmp_path / "missing" / "state")
