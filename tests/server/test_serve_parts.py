"""What stands around the front process: its socket, whether keys are asked for, what it follows."""

import asyncio
import socket
from pathlib import Path

import pytest
from tests.server.fakes import FakeEngine

from realm.errors import ConfigError, RequestError, TenantStoreError
from realm.server.definitions import Item, Model, Tenant
from realm.server.front.admin.content import ContentFolder
from realm.server.front.directory import Directory
from realm.server.front.engine_follower import EngineFollower
from realm.server.front.key_policy import key_notice, keys_are_required
from realm.server.front.listener import is_loopback, open_listener
from realm.server.settings import Settings
from realm.server.store import TenantStore


def _settings(**changes):
    return Settings(data_directory=Path("/x"), database_url="sqlite://", **changes)


def test_a_port_that_is_taken_is_told():
    with open_listener("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}: another program .* --port"):
            open_listener("127.0.0.1", port)
        socket.create_connection(("127.0.0.1", port)).close()


@pytest.mark.parametrize(
    "host", ["no.such.host.invalid", "256.1.1.1", "a b", "x" * 300, "192.0.2.1"]
)
def test_what_is_no_address_of_this_machine(host):
    with pytest.raises(ConfigError, match=r"host|cannot listen"):
        open_listener(host, 0)


def test_which_addresses_only_this_machine_reaches():
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", ""))


@pytest.mark.parametrize(
    ("host", "wanted", "has_keys", "required"),
    [
        ("127.0.0.1", None, False, False),
        ("127.0.0.1", None, True, True),
        ("127.0.0.1", True, False, True),
        ("127.0.0.1", False, True, False),
        ("0.0.0.0", None, True, True),
        ("0.0.0.0", True, True, True),
        ("0.0.0.0", False, False, False),
    ],
)
def test_when_keys_are_asked_for(host, wanted, has_keys, required):
    settings = _settings(host=host, keys_required=wanted)
    assert keys_are_required(settings, has_keys=has_keys) is required
    notice = key_notice(settings, required=required, has_keys=has_keys)
    assert (notice is None) == (required and has_keys)


@pytest.mark.parametrize("wanted", [None, True])
def test_others_are_not_let_near_a_server_without_keys(wanted):
    settings = _settings(host="0.0.0.0", keys_required=wanted)
    with pytest.raises(ConfigError, match="realm keys create"):
        keys_are_required(settings, has_keys=False)


class _Told:
    """A follower of a store that another process changes."""

    def __init__(self, folder):
        self.url = f"sqlite:///{folder / 'realm.db'}"
        self.store = TenantStore(self.url)
        self.engine = FakeEngine()
        model = Model("small", "/m")
        self.directory = Directory(self.store, [model], keys_required=True, wall_clock=lambda: 0.0)
        self.follower = EngineFollower(self.directory, self.engine, ContentFolder(folder))
        self.other = TenantStore(self.url)

    def follow(self):
        asyncio.run(self.follower.follow())
        told, self.engine.told = self.engine.told, []
        return told


@pytest.fixture
def told(tmp_path):
    made = _Told(tmp_path)
    yield made
    made.store.close()
    made.other.close()


def test_what_another_process_changes_is_told(told):
    assert told.follow() == []
    told.other.put_tenant(Tenant("acme"))
    item = Item("a", "acme", "0" * 64, 3, "/x/a")
    told.other.put_item("adapter", item)
    assert told.follow() == [("put_item", "adapter", item), ("put_tenant", Tenant("acme"))]
    assert told.follow() == []
    told.other.put_tenant(Tenant("acme", weight=2.0))
    assert told.follow() == [("put_tenant", Tenant("acme", weight=2.0))]
    told.other.remove_item("adapter", "a", "acme")
    assert told.follow() == [("remove_item", "adapter", "a", "acme")]
    told.other.put_item("adapter", item)
    told.follow()
    told.other.remove_tenant("acme")
    assert told.follow() == [("remove_tenant", "acme")]
    assert told.directory.tenants() == ()


def test_what_the_engine_refuses_does_not_keep_the_rest(told):
    told.other.put_item("adapter", Item("bad", None, "0" * 64, 3, "/x/bad"))
    told.other.put_tenant(Tenant("acme"))
    told.engine.error = RequestError("no")
    assert told.follow() == [("put_tenant", Tenant("acme"))]


def test_a_store_that_cannot_be_read_leaves_what_is_known(told, monkeypatch):
    told.other.put_tenant(Tenant("acme"))
    told.follow()

    def broken():
        raise TenantStoreError("disk")

    monkeypatch.setattr(told.store, "revision", broken)
    told.other.put_tenant(Tenant("more"))
    assert told.follow() == []
    assert told.directory.tenant("acme") == Tenant("acme")
    monkeypatch.undo()
    assert told.follow() == [("put_tenant", Tenant("more"))]
