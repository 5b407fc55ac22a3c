"""A tenant that is removed: what ends, what is forgotten, and that nobody else is touched."""

from __future__ import annotations

import threading

import pytest

from realm.errors import (
    AdapterNotFoundError,
    CancelledError,
    ConfigError,
    GuestError,
    RequestError,
    StateStoreError,
)
from realm.runtime import TenantPolicy, Tool
from realm.runtime.account import TenantMetrics
from realm.runtime.limits import TenantLimits
from realm.runtime.program import default_program
from tiny_adapter import write_adapter
from tiny_model import TinyModel

from .test_tenants import CALL, GET, KEEP, PUT, keeper
from .wat import guest

LONG = {"max_tokens": 900, "ignore_eos": True, "temperature": 0.0}
SHORT = {"max_tokens": 9, "ignore_eos": True, "temperature": 0.0}
TEXT = "a text of several pages " * 8


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    return TinyModel().write(tmp_path_factory.mktemp("removal") / "tiny.gguf")


def on_engine_thread(manager, ask):
    found = []
    assert manager._parts.loop.run(lambda: found.append(ask(manager._engine)))
    return found[0]


def test_requests_end_and_later_ones_are_refused(open_manager, tenant_of):
    manager = open_manager()
    tenant = tenant_of(manager, limits=TenantLimits(requests=2))
    other = tenant_of(manager, "b")
    expected = other.generate(TEXT, **LONG).token_ids
    streams = [tenant.stream("x", direct=number == 0, **LONG) for number in range(3)]
    for stream in streams[:2]:
        next(stream)
    beside = other.stream(TEXT, **LONG)
    next(beside)
    assert manager.metrics()["a"].queued_requests == 1
    manager.remove_tenant("a")
    for stream in streams:
        with pytest.raises(CancelledError, match="tenant was removed"):
            list(stream)
    for direct in (False, True):
        with pytest.raises(RequestError, match="tenant 'a' was removed"):
            tenant.generate("x", direct=direct)
        with pytest.raises(RequestError, match="tenant 'a' was removed"):
            tenant.stream("x", direct=direct)
    assert set(manager.metrics()) == {"b"}
    list(beside)
    assert beside.result.token_ids == expected, "a neighbour does not notice"
    with pytest.raises(ConfigError, match="no tenant 'a'"):
        manager.remove_tenant("a")
    with pytest.raises(ConfigError, match="no tenant 'c'"):
        manager.remove_tenant("c")


def test_nothing_of_it_is_left(open_manager, tenant_of, assemble, tmp_path):
    path = tmp_path / "state"
    manager = open_manager(state_path=path)
    put, get = assemble(keeper(PUT)), assemble(keeper(GET))
    for name in ("a", "b"):
        tenant_of(manager, name, program=put, weight=3.0).generate("x")
        tenant = tenant_of(manager, name, program=default_program(), weight=3.0)
        manager.lora.load("voice", write_adapter(tmp_path / name, 1), name)
        manager.set_tenant_lora_adapter(name, "voice")
        tenant.generate(TEXT, **SHORT)
    manager.lora.load("everyone", write_adapter(tmp_path / "all", 2))
    owners = [
        scope.owner for scope in on_engine_thread(manager, lambda e: [*e._speculation._scopes])
    ]
    assert {"a", "b"} <= set(owners)
    free = manager.free_page_count("tiny")
    manager.remove_tenant("a")
    assert manager.free_page_count("tiny") >= free
    owners = [
        scope.owner for scope in on_engine_thread(manager, lambda e: [*e._speculation._scopes])
    ]
    assert set(owners) == {"b"}
    weights = on_engine_thread(manager, lambda engine: dict(engine._ledger.weights))
    assert (weights.get("a", 1.0), weights["b"]) == (1.0, 3.0)
    assert manager.tenant_policy("a") == TenantPolicy()
    assert manager.registered_models("a") == ()
    assert [status.name for status in manager.lora.list("a")] == ["everyone"]
    assert {status.name for status in manager.lora.list("b")} == {"everyone", "voice"}

    again = tenant_of(manager, "a")
    assert again.lora_adapter_id is None
    assert manager.metrics()["a"] == TenantMetrics()
    with pytest.raises(AdapterNotFoundError):
        again.generate("x", adapters="voice")
    assert len(again.generate("x", **SHORT).token_ids) == 9
    with pytest.raises(GuestError, match="REALM_E_NOT_FOUND"):
        tenant_of(manager, "a", program=get).generate("x")
    assert tenant_of(manager, "b").lora_adapter_id == "voice"
    assert tenant_of(manager, "b", program=get).generate("x").text == "value"


def test_a_restart_does_not_find_it(open_manager, tenant_of, assemble, tmp_path):
    path = tmp_path / "state"
    manager = open_manager(state_path=path)
    put, get = assemble(keeper(PUT)), assemble(keeper(GET))
    for name in ("a", "b"):
        tenant_of(manager, name, program=put).generate("x")
    manager.remove_tenant("a")
    manager.close()
    manager = open_manager(state_path=path)
    assert set(manager.metrics()) == {"b"}
    assert manager.registered_models("a") == ()
    assert tenant_of(manager, "b", program=get).generate("x").text == "value"
    with pytest.raises(GuestError, match="REALM_E_NOT_FOUND"):
        tenant_of(manager, "a", program=get).generate("x")


def test_what_a_worker_still_writes_is_forgotten_too(
    open_manager, tenant_of, assemble, tmp_path, monkeypatch
):
    manager = open_manager(state_path=tmp_path / "state")
    store = manager._parts.state
    entered, gate, put = threading.Event(), threading.Event(), store.put

    def slow_put(*arguments):
        entered.set()
        assert gate.wait(60)
        return put(*arguments)

    monkeypatch.setattr(store, "put", slow_put)
    stream = tenant_of(manager, program=assemble(keeper(PUT))).stream("x")
    assert entered.wait(60)
    removal = threading.Thread(target=manager.remove_tenant, args=("a",))
    removal.start()
    with pytest.raises(CancelledError):
        list(stream)
    assert removal.is_alive()
    gate.set()
    removal.join(60)
    assert not removal.is_alive()
    manager._parts.workers.wait_for("a")
    assert store.get("a", b"key") is None


def test_a_tool_that_never_returns_holds_nothing_up(open_manager, tenant_of, assemble):
    manager = open_manager()
    entered, gate = threading.Event(), threading.Event()

    def wait(arguments: bytes) -> bytes:
        entered.set()
        gate.wait(60)
        return arguments

    caller = assemble(guest(CALL, imports=("realm_tool_call", "realm_stream_token"), extra=KEEP))
    stream = tenant_of(manager, program=caller, tools={"name": Tool(wait)}).stream("x")
    assert entered.wait(60)
    manager.remove_tenant("a")
    with pytest.raises(CancelledError):
        list(stream)
    gate.set()


def test_one_that_is_made_while_it_is_removed_does_not_come_back(
    open_manager, tenant_of, model_path, tmp_path, monkeypatch
):
    path = tmp_path / "state"
    manager = open_manager(state_path=path)
    manager.set_tenant_policy("a", TenantPolicy())
    load = manager._load

    def slow_load(config):
        hosted = load(config)
        manager.remove_tenant("a")
        return hosted

    with monkeypatch.context() as slow:
        slow.setattr(manager, "_load", slow_load)
        with pytest.raises(RequestError, match="tenant 'a' was removed"):
            tenant_of(manager)
    manager.close()
    assert open_manager(state_path=path).metrics() == {}


def test_a_disk_that_refuses_leaves_it_removed_and_the_call_can_be_repeated(
    open_manager, tenant_of, tmp_path, monkeypatch
):
    manager = open_manager(state_path=tmp_path / "state")
    tenant = tenant_of(manager)

    def refuse(tenant_id):
        raise StateStoreError("the disk is full")

    with monkeypatch.context() as full:
        full.setattr(manager._registry, "forget", refuse)
        with pytest.raises(StateStoreError, match="full"):
            manager.remove_tenant("a")
    for use in (
        lambda: tenant.generate("x"),
        lambda: tenant_of(manager),
        lambda: manager.set_tenant_policy("a", TenantPolicy()),
        lambda: manager.set_tenant_lora_adapter("a", None),
    ):
        with pytest.raises(RequestError, match="tenant 'a' was removed"):
            use()
    manager.remove_tenant("a")
    assert len(tenant_of(manager).generate("x", **SHORT).token_ids) == 9
    manager.close()
    with pytest.raises(RequestError, match="closed"):
        manager.remove_tenant("a")


def test_a_request_that_still_waits_for_its_adapter_does_not_begin(
    open_manager, tenant_of, tmp_path
):
    manager = open_manager()
    gate = threading.Event()
    manager.lora.load("voice", write_adapter(tmp_path / "voice", 1), "a")
    manager.lora._loaders.submit(gate.wait, 60)
    stream = tenant_of(manager).stream("x", adapters="voice", **SHORT)
    manager.remove_tenant("a")
    gate.set()
    with pytest.raises(CancelledError, match="tenant was removed"):
        list(stream)
    assert manager.lora.resident_bytes == 0
