"""Threads and processes that write at once: nothing is lost, everything is counted."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from realm.server.definitions import Tenant
from realm.server.store import TenantStore

_CREATE_KEYS = """
import sys
from realm.server.definitions import Tenant
from realm.server.store import TenantStore
sys.stdin.readline()
with TenantStore(sys.argv[1], busy_seconds=60) as store:
    store.put_tenant(Tenant(sys.argv[2]))
    for _ in range(int(sys.argv[3])):
        print(store.create_key(sys.argv[2])[0].prefix)
"""


def test_many_threads(tmp_path):
    with TenantStore(f"sqlite:///{tmp_path / 'realm.db'}") as store:
        store.put_tenant(Tenant("acme"))

        def work(number):
            key, _ = store.create_key("acme", note=str(number))
            assert key in [each.key for each in store.snapshot().keys]
            return key

        with ThreadPoolExecutor(16) as pool:
            made = list(pool.map(work, range(80)))
        kept = store.keys()
        assert {key.prefix for key in made} == {key.prefix for key in kept}
        assert len(kept) == 80
        assert store.revision() == 81


def test_two_processes_that_make_the_database_together(tmp_path):
    url = f"sqlite:///{tmp_path / 'realm.db'}"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _CREATE_KEYS, url, name, "40"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    made = []
    for process in processes:
        output, _ = process.communicate()
        assert process.returncode == 0
        made += output.split()
    with TenantStore(url) as store:
        kept = store.keys()
        assert sorted(made) == sorted(key.prefix for key in kept)
        assert len(made) == 80
        assert store.revision() == 82


def test_a_reader_sees_another_process_write_through_the_revision(tmp_path):
    url = f"sqlite:///{tmp_path / 'realm.db'}"
    with TenantStore(url) as reader, TenantStore(url) as writer:
        before = reader.revision()
        writer.put_tenant(Tenant("acme"))
        assert reader.revision() == before + 1
        assert reader.snapshot().tenants == (Tenant("acme"),)
