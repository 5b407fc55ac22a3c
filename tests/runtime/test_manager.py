"""The whole runtime on a real engine: small random weights, every layer of Realm beneath."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from realm.config import EngineConfig, ModelConfig
from realm.errors import (
    ChatTemplateError,
    ConfigError,
    GuestCompileError,
    GuestContractError,
    RequestError,
)
from realm.runtime import GuestLimits, HostLimits, RuntimeManager
from tiny_model import VOCABULARY, TinyModel

from .wat import guest

SMALL = {"limits": GuestLimits(memory_bytes=4 << 20), "host_limits": HostLimits(guest_count=32)}
CONFIG = EngineConfig(threads=2, cache_bytes=64 << 20, prefill_chunk_tokens=16, step_tokens=64)
PROMPT = "A text that is not so short, so that its prefill takes some chunks of its own."


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def model_path(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    return TinyModel(architecture=request.param).write(folder / "tiny.gguf")


@pytest.fixture(scope="module")
def runtime(model_path):
    with RuntimeManager(CONFIG, **SMALL) as manager:
        yield manager


@pytest.fixture(scope="module")
def tenant(runtime, model_path):
    return runtime.get_or_create_runtime_with_model("tenant-a", ModelConfig(model_path, "tiny"))


def test_the_guest_says_what_the_host_alone_says(tenant):
    for options in ({"temperature": 0}, {"temperature": 1.5, "top_p": 1.0, "seed": 7}):
        guest_result = tenant.generate(PROMPT, max_tokens=40, **options)
        host_result = tenant.generate(PROMPT, max_tokens=40, direct=True, **options)
        assert guest_result.token_ids == host_result.token_ids
        assert guest_result.text == host_result.text
        assert guest_result.prompt_token_ids == host_result.prompt_token_ids
        assert guest_result.finish_reason == host_result.finish_reason
        assert len(guest_result.token_ids) == 40 or guest_result.finish_reason == "stop"


def test_a_crowd_changes_no_ones_text(runtime, model_path):
    options = {"temperature": 1.2, "top_p": 1.0, "max_tokens": 24, "ignore_eos": True}
    tenants = [
        runtime.get_or_create_runtime_with_model(f"tenant-{n}", ModelConfig(model_path, "tiny"))
        for n in range(3)
    ]
    jobs = [(tenants[n % 3], f"{n} {PROMPT[: 3 * n]}", n, n % 4 == 3) for n in range(12)]

    def run(job):
        tenant, prompt, seed, direct = job
        return tenant.generate(prompt, seed=seed, direct=direct, **options).token_ids

    alone = [run(job) for job in jobs]
    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(run, jobs)) == alone
    assert len(set(alone)) == 12


def test_layer_by_layer_gives_the_bits_of_a_session(runtime, model_path, example_program):
    program = example_program("layers")
    token_ids = [3, 250, 17, 99, 4, 4, 200, 31, 8, 61, 12]
    with RuntimeManager(CONFIG, program, **SMALL) as manager:
        tenant = manager.get_or_create_runtime_with_model("a", ModelConfig(model_path, "tiny"))
        results = [tenant.generate(token_ids=token_ids) for _ in range(2)]
        expected = manager.models["tiny"].logits(token_ids)[-1]
    for result in results:
        logits = np.frombuffer(result.response, "<f4")
        assert logits.shape == (VOCABULARY,)
        assert np.array_equal(logits.view(np.uint32), expected.view(np.uint32))


def test_host_generate_is_the_same_generation(tenant, model_path, example_program):
    program = example_program("host_generate")
    with RuntimeManager(CONFIG, program, **SMALL) as manager:
        other = manager.get_or_create_runtime_with_model("a", ModelConfig(model_path, "tiny"))
        result = other.generate(PROMPT, max_tokens=20, temperature=0)
    expected = tenant.generate(PROMPT, max_tokens=20, temperature=0, direct=True)
    assert result.text == expected.text
    assert result.token_ids == expected.token_ids
    assert result.prompt_token_ids == expected.prompt_token_ids


def test_closing_a_stream_frees_its_pages(runtime, tenant, model_path):
    stored = runtime.models["tiny"]
    tenant.generate("x", max_tokens=1)
    free = runtime.free_page_count("tiny")
    stream = tenant.stream(PROMPT, max_tokens=500, ignore_eos=True, temperature=0)
    next(stream)
    assert runtime.free_page_count("tiny") < free
    stream.close()
    assert runtime.free_page_count("tiny") == free
    assert stream.result.finish_reason == "cancelled"
    assert stored is runtime.models["tiny"]


def test_models_are_shared_and_named(runtime, tenant, model_path, tmp_path):
    again = runtime.get_or_create_runtime_with_model("tenant-a", ModelConfig(model_path, "tiny"))
    assert again is tenant
    other = runtime.get_or_create_runtime_with_model("tenant-b", ModelConfig(model_path))
    assert other is not tenant
    assert runtime.models[str(model_path)] is runtime.models["tiny"]
    assert set(runtime.models) == {"tiny", str(model_path)}
    different = TinyModel(block_type="Q8_0").write(tmp_path / "other.gguf")
    with pytest.raises(ConfigError, match="another model"):
        runtime.get_or_create_runtime_with_model("tenant-a", ModelConfig(different, "tiny"))


def test_a_tenant_has_a_name(runtime, model_path):
    with pytest.raises(ConfigError, match="tenant_id"):
        runtime.get_or_create_runtime_with_model("", ModelConfig(model_path))


def test_a_model_without_a_template_refuses_messages(tenant):
    messages = [{"role": "user", "content": "hi"}]
    for direct in (False, True):
        with pytest.raises(ChatTemplateError, match="no chat template"):
            tenant.generate(messages=messages, direct=direct)


def test_a_program_that_cannot_run_is_refused_at_once(assemble):
    with pytest.raises(GuestCompileError):
        RuntimeManager(CONFIG, b"no module", **SMALL)
    with pytest.raises(GuestContractError, match="realm_handle"):
        RuntimeManager(CONFIG, assemble(guest(without="realm_handle")), **SMALL)
    with pytest.raises(ConfigError, match="memory_bytes"):
        RuntimeManager(CONFIG, host_limits=HostLimits(memory_bytes=1 << 20))


def test_a_closed_runtime_takes_nothing(model_path):
    manager = RuntimeManager(CONFIG, **SMALL)
    tenant = manager.get_or_create_runtime_with_model("a", ModelConfig(model_path))
    manager.close()
    manager.close()
    with pytest.raises(RequestError, match="closed"):
        tenant.generate("x")
    with pytest.raises(RequestError, match="closed"):
        manager.get_or_create_runtime_with_model("a", ModelConfig(model_path))


def test_a_forgotten_runtime_ends_with_the_interpreter(model_path):
    code = (
        "from realm.config import EngineConfig, ModelConfig\n"
        "from realm.runtime import RuntimeManager\n"
        f"tenant = RuntimeManager(EngineConfig(threads=2)).get_or_create_runtime_with_model("
        f"'a', ModelConfig({str(model_path)!r}))\n"
        "stream = tenant.stream('x', max_tokens=1000, ignore_eos=True)\n"
        "next(stream)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_response_tells_how_it_ended(tenant):
    result = tenant.generate("x", max_tokens=3, ignore_eos=True)
    document = json.loads(result.response)
    assert document == {"finish_reason": "length", "completion_tokens": 3}


def test_the_wasmtime_bindings_stay_unloaded(tenant):
    tenant.generate("x", max_tokens=1)
    assert "wasmtime" not in sys.modules
