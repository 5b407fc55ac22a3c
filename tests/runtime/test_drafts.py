"""Drafts from a tenant's configuration to its text: exact, counted, its own, refused when wrong."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from realm.config import EngineConfig, ModelConfig, SpeculativeConfig
from realm.engine import Engine
from realm.errors import ArchitectureError, DraftMismatchError, GGUFError, GuestError
from realm.runtime import RuntimeManager, TenantPolicy, Tool
from tiny_model import TinyModel

from .wat import guest

CONFIG = EngineConfig(threads=2, cache_bytes=64 << 20)
OFF = EngineConfig(threads=2, cache_bytes=64 << 20, speculation=SpeculativeConfig(draft_k=0))
PROMPTS = [[3, 250, 17, 99, 4, 61, 8] * 3, [9, 8, 7, 9, 8, 7, 9, 8], [*range(30, 45)]]
OPTIONS = {"max_tokens": 60, "ignore_eos": True}
POLICIES = [
    {"temperature": 0.0},
    {"temperature": 0.05, "seed": 4},
    {"temperature": 0.0, "repetition_penalty": 1.02},
    {"temperature": 0.0, "regex": "[a-h]{58}"},
]


@pytest.fixture(scope="module")
def model_path(tmp_path_factory) -> Path:
    return TinyModel().write(tmp_path_factory.mktemp("drafted") / "tiny.gguf")


@pytest.fixture(scope="module")
def draft_path(tmp_path_factory) -> Path:
    return TinyModel(block_type="Q4_0").write(tmp_path_factory.mktemp("drafts") / "draft.gguf")


@pytest.fixture
def given(monkeypatch) -> list:
    """The draft of every sequence that is opened."""
    drafts = []
    open_sequence = Engine.open

    def remember(*arguments, draft=None, **keywords):
        drafts.append(draft)
        return open_sequence(*arguments, draft=draft, **keywords)

    monkeypatch.setattr(Engine, "open", remember)
    return drafts


def answers(manager, config, *, direct: bool) -> list[tuple[int, ...]]:
    """Of every prompt under every policy, all at once."""
    tenant = manager.get_or_create_runtime_with_model("a", config)
    requests = [(ids, policy) for ids in PROMPTS for policy in POLICIES]
    with ThreadPoolExecutor(len(requests)) as clients:
        results = clients.map(
            lambda each: tenant.generate(token_ids=each[0], direct=direct, **OPTIONS, **each[1]),
            requests,
        )
        return [each.token_ids for each in results]


@pytest.mark.parametrize("direct", [False, True])
def test_no_text_changes(model_path, draft_path, direct):
    with RuntimeManager(OFF) as manager:
        plain = answers(manager, ModelConfig(model_path, "tiny"), direct=direct)
        assert manager.metrics()["a"].speculation.drafted == 0
    config = ModelConfig(model_path, "tiny", draft_path, "draft")
    for _ in range(10):  # what is drafted depends on what steps take
        with RuntimeManager(CONFIG) as manager:
            for _ in range(2):
                assert answers(manager, config, direct=direct) == plain
            figures = manager.metrics()["a"].speculation
        if figures.drafted > figures.accepted > 0:
            break
    assert figures.drafted > figures.accepted > 0


def test_a_request_may_go_without(model_path):
    with RuntimeManager(CONFIG) as manager:
        tenant = manager.get_or_create_runtime_with_model("a", ModelConfig(model_path, "tiny"))
        options = {"token_ids": PROMPTS[0], "temperature": 0.0, **OPTIONS}
        without = tenant.generate(draft_k=0, **options)
        assert manager.metrics()["a"].speculation.drafted == 0
        for _ in range(30):  # until a step's cost is known well enough
            assert tenant.generate(**options).token_ids == without.token_ids
            if manager.metrics()["a"].speculation.accepted:
                break
        assert manager.metrics()["a"].speculation.accepted > 0


def test_one_draft_for_all_tenants(model_path, draft_path, given):
    config = ModelConfig(model_path, "tiny", draft_path, "draft")
    with RuntimeManager(CONFIG) as manager:
        for name in "ab":
            tenant = manager.get_or_create_runtime_with_model(name, config)
            assert tenant.draft_model_config == ModelConfig(draft_path, "draft")
            tenant.generate(token_ids=PROMPTS[0], **OPTIONS)
        plain = manager.get_or_create_runtime_with_model("c", ModelConfig(model_path, "tiny"))
        assert plain.draft_model_config is None
        plain.generate(token_ids=PROMPTS[0], **OPTIONS)
        assert [each and each.stored for each in given] == [manager.models["draft"]] * 2 + [None]


def test_a_draft_that_does_not_fit(model_path, tmp_path, smollm2_path):
    with RuntimeManager(CONFIG) as manager:

        def refused(draft: Path, kind: type[Exception], words: str) -> None:
            with pytest.raises(kind, match=words):
                manager.get_or_create_runtime_with_model("a", ModelConfig(model_path, "t", draft))

        refused(smollm2_path, DraftMismatchError, "49152 tokens")
        cut = tmp_path / "cut.gguf"
        cut.write_bytes(model_path.read_bytes()[:-1000])
        refused(cut, GGUFError, "token_embd|blk|output")
        refused(TinyModel("mamba").write(tmp_path / "other.gguf"), ArchitectureError, "mamba")
        refused(tmp_path / "none.gguf", GGUFError, "none.gguf")
        tenant = manager.get_or_create_runtime_with_model("a", ModelConfig(model_path, "t"))
        assert tenant.generate(token_ids=PROMPTS[0], **OPTIONS).token_ids


def test_a_released_draft_leaves_memory_with_its_last_sequence(model_path, tmp_path, given):
    path = TinyModel(block_type="Q4_0").write(tmp_path / "gone.gguf")
    config = ModelConfig(model_path, "tiny", path, "gone")
    with RuntimeManager(CONFIG) as manager:
        tenant = manager.get_or_create_runtime_with_model("a", config)
        expected = tenant.generate(token_ids=PROMPTS[0], temperature=0.0, **OPTIONS).token_ids
        draft = weakref.ref(manager.models["gone"])
        for _ in range(2):  # the second time it means nothing
            manager.release_draft("gone")
        assert "gone" not in manager.models
        assert (
            tenant.generate(token_ids=PROMPTS[0], temperature=0.0, **OPTIONS).token_ids == expected
        )
        assert given[-1] is None
        given.clear()
        gc.collect()
        assert draft() is None
        again = manager.get_or_create_runtime_with_model("a", config)
        assert (
            again.generate(token_ids=PROMPTS[0], temperature=0.0, **OPTIONS).token_ids == expected
        )
        assert given[-1].stored is manager.models["gone"]


def test_a_draft_that_is_a_model_as_well_stays(model_path):
    config = ModelConfig(model_path, "tiny", model_path, "itself")
    with RuntimeManager(CONFIG) as manager:
        tenant = manager.get_or_create_runtime_with_model("a", config)
        manager.release_draft("itself")
        manager.release_draft("tiny")
        assert list(manager.models) == ["tiny"]
        assert tenant.generate(token_ids=PROMPTS[0], **OPTIONS).token_ids


BRING = """(local.set $i (call $realm_tool_call (i32.const 32) (i32.const 4)
    (i32.const 0) (i32.const 0) (i32.const 65536) (i32.const 2000000)))
  (if (i32.lt_s (local.get $i) (i32.const 0)) (then (return (local.get $i))))
  (call $realm_store_draft_model (i32.const 65536) (local.get $i) (i32.const 0))"""


@pytest.fixture
def bringing(assemble) -> bytes:
    """A program that stores what its tool gives as a draft."""
    return assemble(
        guest(
            BRING,
            imports=("realm_tool_call", "realm_store_draft_model"),
            extra='(data (i32.const 32) "name")',
            memory='(memory (export "memory") 40)',
        )
    )


def settle(manager) -> None:
    """Until the engine's thread has done what it was asked to."""
    done = threading.Event()
    manager._parts.loop.call(done.set)
    assert done.wait(60)


def test_a_program_brings_a_draft(model_path, draft_path, bringing, given):
    config, size = ModelConfig(model_path, "tiny"), draft_path.stat().st_size
    tool = Tool(lambda _: draft_path.read_bytes(), result_bytes=2_000_000)

    def drafts_of(manager, tenant_id: str) -> list:
        given.clear()
        manager.set_tenant_policy(tenant_id, TenantPolicy())
        tenant = manager.get_or_create_runtime_with_model(tenant_id, config)
        tenant.generate(token_ids=PROMPTS[0], **OPTIONS)
        return [None if each is None else each.stored.content_hash for each in given]

    with RuntimeManager(CONFIG) as manager:
        policy = TenantPolicy(program=bringing, tools={"name": tool})
        manager.set_tenant_policy("a", policy)
        tenant = manager.get_or_create_runtime_with_model("a", config)
        for _ in range(2):  # the second takes the place of the first
            assert tenant.generate("x").finish_reason
            assert manager.metrics()["a"].model_bytes == size
        (content_hash,) = drafts_of(manager, "a")
        assert content_hash not in {None, tenant._model.stored.content_hash}
        assert drafts_of(manager, "b") == [None]
        assert manager.evict_idle(0.0) == 2
        settle(manager)
        assert manager.metrics()["a"].model_bytes == 0
        assert drafts_of(manager, "a") == [None]


def test_a_program_brings_what_does_not_fit(model_path, bringing, smollm2_path):
    data = smollm2_path.read_bytes()
    assert len(data) > 2_000_000
    tool = Tool(lambda _: data[:1_900_000], result_bytes=2_000_000)
    with RuntimeManager(CONFIG) as manager:
        manager.set_tenant_policy("a", TenantPolicy(program=bringing, tools={"name": tool}))
        tenant = manager.get_or_create_runtime_with_model("a", ModelConfig(model_path, "tiny"))
        with pytest.raises(GGUFError):
            tenant.generate("x")
        assert manager.metrics()["a"].model_bytes == 0


def test_a_program_brings_another_vocabulary(model_path, bringing, tmp_path):
    class Shorter(TinyModel):
        def _write_metadata(self, writer) -> None:
            super()._write_metadata(writer)
            writer.kv_data[-1]["tokenizer.ggml.tokens"].value[-2] = "<|another|>"

    data = Shorter().write(tmp_path / "other.gguf").read_bytes()
    tool = Tool(lambda _: data, result_bytes=2_000_000)
    with RuntimeManager(CONFIG) as manager:
        manager.set_tenant_policy("a", TenantPolicy(program=bringing, tools={"name": tool}))
        tenant = manager.get_or_create_runtime_with_model("a", ModelConfig(model_path, "tiny"))
        with pytest.raises((DraftMismatchError, GuestError), match="other tokens"):
            tenant.generate("x")
        assert manager.metrics()["a"].model_bytes == 0
