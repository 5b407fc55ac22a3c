"""Adapters from a tenant's name to its text: versions, defaults, weights, refusals, isolation."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from realm.config import EngineConfig, ModelConfig
from realm.errors import AdapterError, AdapterNotFoundError, ConfigError, RequestError
from realm.runtime import RuntimeManager
from tiny_adapter import write_adapter
from tiny_model import TinyModel

CONFIG = EngineConfig(threads=2, cache_bytes=64 << 20)
IDS = [3, 250, 17, 99, 4, 61, 8]
OPTIONS = {"token_ids": IDS, "max_tokens": 40, "temperature": 0.0, "ignore_eos": True}


@pytest.fixture(scope="module")
def model_path(tmp_path_factory) -> Path:
    return TinyModel().write(tmp_path_factory.mktemp("adapted") / "tiny.gguf")


@pytest.fixture
def manager():
    with RuntimeManager(CONFIG) as made:
        yield made


def tenant_of(manager, model_path, name="a"):
    return manager.get_or_create_runtime_with_model(name, ModelConfig(model_path, "tiny"))


def ids(tenant, **changes) -> tuple[int, ...]:
    return tenant.generate(**(OPTIONS | changes)).token_ids


def test_a_default_set_before_the_model_is_loaded(manager, model_path, tmp_path):
    manager.lora.load("voice", write_adapter(tmp_path / "one", 1), "a")
    manager.set_tenant_lora_adapter("a", "voice")
    tenant = tenant_of(manager, model_path)
    assert tenant.lora_adapter_id == "voice"
    adapted, plain = ids(tenant), ids(tenant, adapters=())
    assert adapted != plain
    assert ids(tenant, direct=True) == adapted
    assert ids(tenant, adapters="voice") == ids(tenant, adapters=[("voice", 1.0)]) == adapted
    assert ids(tenant, adapters=[("voice", 0.0)]) == plain
    manager.set_tenant_lora_adapter("a", None)
    assert ids(tenant) == plain


def test_running_requests_keep_their_version(manager, model_path, tmp_path):
    tenant = tenant_of(manager, model_path)
    manager.lora.load("first", write_adapter(tmp_path / "one", 1), "a")
    manager.lora.load("second", write_adapter(tmp_path / "two", 2), "a")
    # More than a stream holds: it cannot end before it is read.
    expected = ids(tenant, adapters="first", max_tokens=900), ids(tenant, adapters="second")
    assert expected[0] != expected[1]
    manager.lora.load("voice", tmp_path / "one", "a")
    stream = tenant.stream(**(OPTIONS | {"max_tokens": 900}), adapters="voice")
    next(stream)
    manager.lora.load("voice", tmp_path / "two", "a")
    later = ids(tenant, adapters="voice")
    gone = manager.lora.unload("voice", "a")
    assert not gone.done()
    for _ in stream:
        pass
    assert (stream.result.token_ids, later) == expected
    gone.result(timeout=30)
    with pytest.raises(AdapterNotFoundError):
        ids(tenant, adapters="voice")


def test_every_tenant_its_own_in_one_batch(manager, model_path, tmp_path):
    tenants = [tenant_of(manager, model_path, f"tenant-{number}") for number in range(4)]
    for number, tenant in enumerate(tenants):
        manager.lora.load("mine", write_adapter(tmp_path / str(number), number), tenant.tenant_id)
        manager.set_tenant_lora_adapter(tenant.tenant_id, "mine")
    alone = [ids(tenant) for tenant in tenants]
    assert len(set(alone)) == len(tenants)
    streams = [tenant.stream(**OPTIONS) for tenant in tenants]
    for stream, expected in zip(streams, alone, strict=True):
        for _ in stream:
            pass
        assert stream.result.token_ids == expected


def test_a_tenants_names_are_its_own(manager, model_path, tmp_path):
    manager.lora.load("mine", write_adapter(tmp_path / "one", 1), "a")
    other = tenant_of(manager, model_path, "b")
    with pytest.raises(AdapterNotFoundError):
        manager.set_tenant_lora_adapter("b", "mine")
    with pytest.raises(AdapterNotFoundError):
        ids(other, adapters="mine")
    assert other.lora_adapter_id is None


def test_what_does_not_fit_fails_the_request_alone(manager, model_path, tmp_path):
    manager.lora.load("late", write_adapter(tmp_path / "one", 1), "a")
    tenant = tenant_of(manager, model_path)
    plain = ids(tenant, adapters=())
    (tmp_path / "one" / "adapter_model.safetensors").write_bytes(b"cut")
    with pytest.raises(AdapterError):
        ids(tenant, adapters="late")
    with pytest.raises(ConfigError, match="finite"):
        ids(tenant, adapters=[("late", float("nan"))])
    assert ids(tenant) == plain


@pytest.mark.parametrize(
    ("adapters", "words"),
    [
        (7, "not 7"),
        (b"voice", "not b'voice'"),
        ({"voice": 1.0}, "not {'voice': 1.0}"),
        ([7], "not 7"),
        ([()], r"not \(\)"),
        ([("voice",)], r"not \('voice',\)"),
        ([("voice", 1.0, 2.0)], "not .'voice', 1.0, 2.0"),
        ([(1.0, "voice")], "not .1.0, 'voice'"),
        ([("voice", "1")], "'voice': the weight must be a number, not '1'"),
        ([("voice", None)], "'voice': the weight must be a number, not None"),
        ([("voice", True)], "'voice': the weight must be a number, not True"),
        ([("voice", 1j)], "'voice': the weight must be a number, not 1j"),
        (["voice", ["voice", []]], r"'voice': the weight must be a number, not \[\]"),
    ],
)
def test_what_is_no_name_with_a_weight_is_told(manager, model_path, tmp_path, adapters, words):
    manager.lora.load("voice", write_adapter(tmp_path / "one", 1), "a")
    tenant = tenant_of(manager, model_path)
    with pytest.raises(RequestError, match=words):
        tenant.generate(**OPTIONS, adapters=adapters)
    (status,) = manager.lora.list("a")
    assert (status.user_count, status.waiting_count) == (0, 0)


def test_weights_of_every_kind_of_number(manager, model_path, tmp_path):
    manager.lora.load("voice", write_adapter(tmp_path / "one", 1), "a")
    tenant = tenant_of(manager, model_path)
    expected = ids(tenant, adapters="voice")
    for one in (1, np.float32(1), Fraction(1)):
        assert ids(tenant, adapters=[["voice", one]]) == expected
    with pytest.raises(ConfigError, match="finite"):
        tenant.generate(**OPTIONS, adapters=[("voice", 10**400)])


def test_logits_by_name(manager, model_path, tmp_path):
    tenant_of(manager, model_path)
    manager.lora.load("voice", write_adapter(tmp_path / "one", 1))
    model = manager.models["tiny"]
    assert (model.logits(IDS, adapter="voice") != model.logits(IDS)).any()
    with pytest.raises(AdapterNotFoundError):
        model.logits(IDS, adapter="none")
