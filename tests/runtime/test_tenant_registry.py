"""Tenants that a restart finds again: policies, programs, adapters, models."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from realm.config import EngineConfig, ModelConfig
from realm.errors import ConfigError, StateStoreError
from realm.runtime import GuestLimits, RuntimeManager
from realm.runtime.limits import TenantLimits
from realm.runtime.policy import TenantPolicy, Tool
from realm.runtime.program import default_program
from realm.runtime.tenant_registry import RegisteredTenant, TenantRegistry
from tiny_model import TinyModel

POLICY = TenantPolicy(
    program=b"\0asm one",
    guest_limits=GuestLimits(memory_bytes=1 << 20, tokens=77),
    limits=TenantLimits(requests=3, state_bytes=99),
    priority=2,
    weight=2.5,
    reads_tensors=True,
)
MODELS = (ModelConfig(Path("/models/a.gguf"), "a"), ModelConfig("b.gguf", "b", "draft.gguf", "d"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state.db"


def reopened(path):
    registry = TenantRegistry(path)
    found = {each.tenant_id: each for each in registry.load()}
    registry.close()
    return found


def test_what_was_put_is_there_after_a_restart(path):
    registry = TenantRegistry(path)
    registry.put(RegisteredTenant("plain", TenantPolicy(), None, ()))
    registry.put(RegisteredTenant("rich", TenantPolicy(), "old", MODELS[:1]))
    registry.put(RegisteredTenant("rich", POLICY, "voice", MODELS))
    registry.close()
    found = reopened(path)
    assert list(found) == ["plain", "rich"]
    assert found["plain"] == RegisteredTenant("plain", TenantPolicy(), None, ())
    assert found["rich"].policy == POLICY
    assert found["rich"].adapter == "voice"
    as_text = (ModelConfig("/models/a.gguf", "a"), MODELS[1])
    assert found["rich"].models == as_text


def test_programs_are_kept_once_and_go_with_their_last_tenant(path):
    registry = TenantRegistry(path)
    for name in ("one", "two"):
        registry.put(RegisteredTenant(name, POLICY, None, ()))
    count = "SELECT count(*) FROM program"
    with sqlite3.connect(path) as connection:
        assert connection.execute(count).fetchone() == (1,)
        registry.forget("one")
        assert connection.execute(count).fetchone() == (1,)
        registry.forget("two")
        assert connection.execute(count).fetchone() == (0,)
    registry.put(RegisteredTenant("three", POLICY, None, ()))
    registry.close()
    assert reopened(path)["three"].policy.program == POLICY.program


def test_equal_policies_are_one_object(path):
    registry = TenantRegistry(path)
    for number in range(5):
        registry.put(RegisteredTenant(f"tenant-{number}", POLICY, None, MODELS))
    registry.close()
    found = reopened(path)
    assert len({id(each.policy) for each in found.values()}) == 1


def test_tools_are_not_kept(path):
    registry = TenantRegistry(path)
    policy = TenantPolicy(tools={"clock": Tool(lambda _: b"")})
    registry.put(RegisteredTenant("tenant", policy, None, ()))
    registry.close()
    assert reopened(path)["tenant"].policy == TenantPolicy()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE program SET wasm = x'00'", "not what was stored"),
        ("UPDATE tenant SET policy = '[]'", "tenant 'tenant'"),
        ("UPDATE tenant SET policy = '{\"limits\": {}}'", "guest_limits"),
        (
            "UPDATE tenant SET policy = replace(policy, '\"weight\": 2.5', '\"weight\": 0')",
            "weight",
        ),
        ("UPDATE tenant SET policy = '3'", "tenant 'tenant'"),
        ("UPDATE tenant SET models = '[{}]'", "model_path"),
        ("UPDATE program SET wasm = 'text'", "not what was stored"),
        ("DELETE FROM program", "tenant 'tenant'"),
        ("DROP TABLE tenant", "no such table"),
    ],
)
def test_a_file_that_others_changed_is_told(path, change, words):
    registry = TenantRegistry(path)
    registry.put(RegisteredTenant("tenant", POLICY, None, MODELS))
    with sqlite3.connect(path) as connection:
        connection.execute(change)
    connection.close()
    with pytest.raises(StateStoreError, match=words):
        list(registry.load())
    registry.close()


def test_a_file_that_is_something_else_and_one_that_is_closed(path):
    path.write_bytes(b"not a database, whatever its name says" * 100)
    with pytest.raises(ConfigError, match="state_path"):
        TenantRegistry(path)
    path.unlink()
    registry = TenantRegistry(path)
    registry.close()
    registry.close()
    with pytest.raises(StateStoreError, match="closed"):
        registry.put(RegisteredTenant("tenant", POLICY, None, ()))


def test_a_manager_finds_its_tenants_again(path, tmp_path):
    model_path = TinyModel().write(tmp_path / "tiny.gguf")
    config = ModelConfig(model_path, "model")
    policy = TenantPolicy(program=default_program(), weight=3.0, limits=TenantLimits(requests=5))
    with RuntimeManager(EngineConfig(threads=1), state_path=path) as manager:
        manager.set_tenant_policy("one", policy)
        first = manager.get_or_create_runtime_with_model("one", config)
        text = first.generate("Hello", max_tokens=4, temperature=0.0).text
        manager.get_or_create_runtime_with_model("two", config)
    with RuntimeManager(EngineConfig(threads=1), state_path=path) as manager:
        assert set(manager.metrics()) == {"one", "two"}
        assert manager.tenant_policy("one") == policy
        assert manager.tenant_policy("two") == TenantPolicy()
        assert not manager.models, "nothing is loaded before it is needed"
        (known,) = manager.registered_models("one")
        assert known == ModelConfig(str(model_path), "model")
        assert manager.registered_models("nobody") == ()
        again = manager.get_or_create_runtime_with_model("one", known)
        assert again.generate("Hello", max_tokens=4, temperature=0.0).text == text
        assert manager._engine._ledger.weights["one"] == 3.0


def open_files(path):
    links = [each for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    return [link for link in links if str(path) in str(link.readlink())]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("CREATE TABLE other (a); CREATE INDEX program ON other (a)", ConfigError),
        ("INSERT INTO tenant VALUES ('tenant', '3', NULL, NULL, '[]')", StateStoreError),
    ],
)
def test_a_manager_that_cannot_begin_leaves_nothing_open(path, statement, error):
    if error is StateStoreError:
        TenantRegistry(path).close()
    with sqlite3.connect(path) as connection:
        connection.executescript(statement)
    connection.close()
    before = set(threading.enumerate())
    with pytest.raises(error) as caught:  # it keeps the frames, and they what they hold
        RuntimeManager(EngineConfig(threads=1), state_path=path)
    assert open_files(path) == []
    assert set(threading.enumerate()) <= before
    del caught
