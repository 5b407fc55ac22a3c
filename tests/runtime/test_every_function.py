"""A wasm32 and a wasm64 program, in C through the SDK, call every function of the table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from realm.cli.guest_compiler import compile_guest
from realm.config import EngineConfig, ModelConfig
from realm.runtime import GuestLimits, HostLimits, RuntimeManager, TenantPolicy, Tool, guest_run
from realm.runtime.contract import HOST_FUNCTIONS
from realm.runtime.guest_state import GuestState
from tiny_adapter import write_adapter
from tiny_model import TinyModel

SOURCE = Path(__file__).parent / "programs" / "every_function.c"
CONFIG = EngineConfig(threads=2, cache_bytes=64 << 20, prefill_chunk_tokens=16, step_tokens=64)
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}{% endfor %}"


class ChattyModel(TinyModel):
    """With a chat template."""

    def _write_metadata(self, writer) -> None:
        super()._write_metadata(writer)
        writer.add_chat_template(TEMPLATE)


@pytest.fixture(scope="module")
def model_path(tmp_path_factory) -> Path:
    return ChattyModel().write(tmp_path_factory.mktemp("chatty") / "tiny.gguf")


@pytest.mark.parametrize("store", ["memory", "file"])
@pytest.mark.parametrize("wide", [False, True], ids=["wasm32", "wasm64"])
def test_a_program_calls_every_function(model_path, tmp_path, monkeypatch, wide, store):
    program = tmp_path / "program.wasm"
    compile_guest([SOURCE], program, wide=wide)
    called: Counter[str] = Counter()

    def counted(function, handler):
        def call(*arguments):
            called[function.name] += 1
            return handler(*arguments)

        return call

    handlers = map(counted, HOST_FUNCTIONS, guest_run.HANDLERS)
    monkeypatch.setattr(guest_run, "HANDLERS", tuple(handlers))
    hear = GuestState.hear

    def heard(state, size, text, text_bytes):
        # What the program calls may be answered without any of the handlers.
        if size >= 0:
            called["realm_decode_tokens"] += 1
        if text is not None:
            called["realm_stream_token"] += 1
        hear(state, size, text, text_bytes)

    monkeypatch.setattr(GuestState, "hear", heard)
    policy = TenantPolicy(
        program=program.read_bytes(),
        tools={"gguf": Tool(lambda _: model_path.read_bytes())},
        reads_tensors=True,
    )
    with RuntimeManager(
        CONFIG,
        limits=GuestLimits(memory_bytes=16 << 20),
        host_limits=HostLimits(guest_count=4, memory_bytes=16 << 20),
        state_path=tmp_path / "state" if store == "file" else None,
    ) as manager:
        manager.set_tenant_policy("a", policy)
        manager.lora.load("voice", write_adapter(tmp_path / "voice", seed=3), "a")
        tenant = manager.get_or_create_runtime_with_model("a", ModelConfig(model_path, "tiny"))
        result = tenant.generate("x")
        figures = manager.metrics()["a"]
    names = {function.name for function in HOST_FUNCTIONS}
    assert set(called) == names
    assert set(result.response.decode().split()) == names
    assert result.text == "done"
    assert (figures.requests, figures.failures) == (1, 0)
    assert figures.model_bytes == model_path.stat().st_size  # the draft, which is the tenant's now
    assert figures.cache_pages == figures.live_guests == 0
